"""Errors: the AppError family, its rendering as problem+json (RFC 9457) and its place in the document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from app.core.routes import allowed_methods

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

NEWER_PHRASES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""The phrases of RFC 9110 where Python's depend on its version."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in what was sent: where (a JSON pointer), which (a stable code) and what to do."""

    pointer: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


class AppError(Exception):
    """A refusal that the caller is told about.

    `code` is stable and documented, `detail` is a sentence that says what to do next, `extensions` become
    members of the problem (RFC 9457, 3.2). The submitted values are never part of it.
    """

    status: ClassVar[int] = 400

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extensions = extensions


class BadRequest(AppError):
    """400: the request itself is malformed."""

    status = 400


class Unauthenticated(AppError):
    """401: no credential, or one that is not good any more."""

    status = 401


class PaymentRequired(AppError):
    """402: a limit of the plan, or a payment that failed."""

    status = 402


class Forbidden(AppError):
    """403: the caller is known and may not do this."""

    status = 403


class NotFound(AppError):
    """404: there is no such thing for this caller, whether or not somebody else has it."""

    status = 404

    def __init__(
        self, code: str = "not_found", detail: str = "There is no such resource.", **more: Any
    ) -> None:
        super().__init__(code, detail, **more)


class Conflict(AppError):
    """409: the present state does not allow it."""

    status = 409


class MethodNotAllowed(AppError):
    """405: the address exists and does not know that method."""

    status = 405


class Gone(AppError):
    """410: a token that was used or has expired."""

    status = 410


class PreconditionFailed(AppError):
    """412: the row has another version than the one that was sent."""

    status = 412


class BodyTooLarge(AppError):
    """413: the body is larger than the route takes."""

    status = 413


class UnsupportedMediaType(AppError):
    """415: the body is not of a type that the route reads."""

    status = 415


class Invalid(AppError):
    """422: the content is not valid."""

    status = 422


class TooManyRequests(AppError):
    """429: a rate limit; `Retry-After` says when to come back."""

    status = 429


class Defect(AppError):
    """500: a fault of ours. Nobody raises it; it is what an error that nobody foresaw is rendered as."""

    status = 500


class Unavailable(AppError):
    """503: something that is needed is down or not configured."""

    status = 503


class Fault(BaseModel):
    """One fault in what was sent."""

    pointer: str = Field(description="JSON pointer into the body, or to the name of the parameter.")
    code: str = Field(description="Stable name of the fault.")
    detail: str = Field(description="What to do, in a sentence.")


class Problem(BaseModel):
    """Every error answer (RFC 9457). Some codes carry further members, which their route describes."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Address of the code's description.")
    title: str = Field(description="The phrase of the status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened and what to do next, in a sentence.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable name of the error; write your program against this.")
    request_id: str = Field(description="The request in our logs; quote it when you ask for help.")
    errors: list[Fault] = Field(description="The single faults of a 422.")


def version_mismatch(version: int) -> PreconditionFailed:
    """The answer to a write that was made from an older version of the row."""
    return PreconditionFailed(
        "version_mismatch", "Somebody changed this meanwhile; read it again and repeat.", version=version
    )


def problems(codes: Mapping[int, Iterable[str]]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the problem codes that are its own, by status.

    What every route may answer (401, 403, 422, 429 …) is added to the document by `core/openapi.py`.
    """
    return {
        status: {
            "description": f"{phrase(status)}: " + ", ".join(f"`{code}`" for code in listed),
            "x-codes": list(listed),
        }
        for status, listed in ((status, list(codes[status])) for status in codes)
    }


CONSTRAINTS: dict[str, AppError] = {}
"""What a broken constraint means, by its name; areas register theirs with `translate_constraint`."""


def translate_constraint(name: str, error: AppError) -> None:
    """Say once which answer a broken constraint gives, whoever breaks it."""
    CONSTRAINTS[name] = error


def constraint_name(error: DBAPIError) -> str | None:
    """The name of the constraint that PostgreSQL reported, through asyncpg's wrapping."""
    cause = getattr(error.orig, "__cause__", None) or error.orig
    name = getattr(cause, "constraint_name", None)
    return str(name) if name else None


def sqlstate(error: DBAPIError) -> str | None:
    """The SQLSTATE that PostgreSQL reported."""
    cause = getattr(error.orig, "__cause__", None) or error.orig
    state = getattr(cause, "sqlstate", None) or getattr(error.orig, "sqlstate", None)
    return str(state) if state else None


BUSY_STATES = {"55P03", "40P01", "40001", "57014"}
"""Lock wait over, deadlock, serialisation failure, statement cancelled: try again in a moment."""

DOWN_CLASSES = ("08", "57P", "53")
"""Connection lost, server shutting down, no room left: the database is not there at the moment."""

BAD_VALUE_CLASSES = ("22",)
"""Data exceptions: a value that passed our checks and that PostgreSQL refuses all the same."""


def _is_disorder(error: DBAPIError) -> bool:
    """Whether the driver has lost track, as it may when the farewell of a dying server comes unasked."""
    return isinstance(getattr(error.orig, "__cause__", None) or error.orig, asyncpg.InternalClientError)


def from_database(error: DBAPIError) -> AppError | None:
    """The refusal that a database error stands for, or None when it is a defect of ours."""
    state = sqlstate(error) or ""
    if isinstance(error, IntegrityError) and (known := CONSTRAINTS.get(constraint_name(error) or "")):
        return known
    if state in BUSY_STATES:
        return Unavailable("busy", "Too many changes of the same data at once; repeat.", headers=SOON)
    if error.connection_invalidated or state.startswith(DOWN_CLASSES) or _is_disorder(error):
        return database_unavailable()
    if state.startswith(BAD_VALUE_CLASSES):
        return Invalid("validation_error", "A value is out of range.")
    return None


SOON = {"Retry-After": "2"}

UNREACHABLE = (PoolTimeout, ConnectionError, FileNotFoundError, TimeoutError)
"""What connecting raises while PostgreSQL is away: refused, no socket, no answer, no free connection."""


def database_unavailable() -> Unavailable:
    """The answer while PostgreSQL cannot be reached."""
    return Unavailable("database_unavailable", "The database is not reachable; try again.", headers=SOON)


def method_not_allowed() -> MethodNotAllowed:
    """405; `Allow` is added where it is rendered."""
    return MethodNotAllowed("method_not_allowed", "This address does not know that method; see `Allow`.")


def phrase(status: int) -> str:
    """What a status is called."""
    return NEWER_PHRASES.get(status) or HTTPStatus(status).phrase


def problem(error: AppError, *, instance: str = "", request_id: str = "") -> dict[str, Any]:
    """The members of an error answer; the OpenAPI document's examples are made by it, too."""
    return {
        "type": f"https://docs.luneo.app/problems/{error.code}",
        "title": phrase(error.status),
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        "errors": [item.as_dict() for item in error.errors],
        **error.extensions,
    }


def render(request: Request, error: AppError) -> JSONResponse:
    """The problem+json answer of an error."""
    scope = request.scope
    # Not `request.url`, which is built from the Host header and fails where that is garbage.
    body = problem(error, instance=scope["path"][:2000], request_id=scope.get("luneo.request_id") or "")
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(body, error.status, headers, media_type=MEDIA_TYPE)


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _pointer(location: Sequence[int | str]) -> str:
    """The JSON pointer of a place. Names in it may be the caller's own, so each is cut to a sane length."""
    return "".join("/" + str(part)[:100].replace("~", "~0").replace("/", "~1") for part in location[:32])


PYDANTIC_CODES = {"missing": "required", "value_error": "invalid"}
"""pydantic's names of faults that are ours under another name; the rest is good as it is."""

PYDANTIC_DETAILS = {"union_tag_invalid": "This is not one of the known kinds."}
"""Sentences in place of those of pydantic that would repeat what was sent."""


def _fault(item: Mapping[str, Any]) -> FieldError:
    detail = PYDANTIC_DETAILS.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    return FieldError(_pointer(item["loc"][1:]), PYDANTIC_CODES.get(item["type"], item["type"]), detail[:500])


def faults_at(pointer: Sequence[int | str], error: ValidationError) -> list[FieldError]:
    """What is wrong with a part of the body that a service validated itself, as if the route had."""
    return [_fault({**item, "loc": ("body", *pointer, *item["loc"])}) for item in error.errors()]


def from_validation(error: RequestValidationError, content_type: str) -> AppError:
    """422 with a pointer for each fault; a path id that is none is the 404 of a thing that is not there."""
    found = error.errors()
    is_sent = any(item["loc"] == ("body",) and item["type"] != "missing" for item in found)
    if is_sent and not is_json(content_type):
        return UnsupportedMediaType("unsupported_media_type", "Send JSON as `application/json`.")
    if any(item["loc"] and item["loc"][0] == "path" for item in found):
        return NotFound()
    if any(item["type"] == "json_invalid" for item in found):
        return BadRequest("malformed_json", "The body is not valid JSON.")
    return Invalid(
        "validation_error",
        "Some of what was sent is not valid; see `errors`.",
        errors=[_fault(item) for item in found[:100]],
    )


def from_http(error: StarletteHTTPException) -> AppError:
    """What the framework refuses, in our words: no such address or method, a body that cannot be read."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return NotFound(detail="There is no such address.", headers=headers)
        case 405:
            return method_not_allowed()
        case 413:
            # What is left of the body is not read, so the connection cannot serve another request.
            headers["Connection"] = "close"
            return BodyTooLarge("body_too_large", str(error.detail), headers=headers)
        case 415:
            return UnsupportedMediaType("unsupported_media_type", str(error.detail), headers=headers)
        case _:
            return BadRequest("malformed_request", "The body cannot be read.", headers=headers)


def to_app_error(error: Exception, content_type: str = "application/json") -> AppError:
    """Whatever was raised, as what the caller is told; a defect of ours is logged and becomes a 500."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error, content_type)
    if isinstance(error, StarletteHTTPException):
        return from_http(error)
    if isinstance(error, DBAPIError) and (known := from_database(error)) is not None:
        return known
    if isinstance(error, UNREACHABLE):
        return database_unavailable()
    logger.error("unhandled_error", exc_info=error)
    return Defect("internal_error", "Something went wrong on our side; it was recorded.")


async def handle(request: Request, error: Exception) -> JSONResponse:
    """The one handler of every error."""
    answer = to_app_error(error, request.headers.get("content-type", ""))
    if answer.status == 405:
        # The framework names the methods of the first route that matches only.
        answer.headers["Allow"] = ", ".join(sorted(allowed_methods(request.app, request.scope["path"])))
    elif answer.status == 403 and (note := getattr(request.app.state, "on_denial", None)) is not None:
        await note(request, answer)
    return render(request, answer)


def install(app: FastAPI) -> None:
    """Render every error of the application by `handle`."""
    # What is not listed here is caught by a layer (core/http.py), so that even a 500 has its headers.
    for kind in (AppError, RequestValidationError, StarletteHTTPException, DBAPIError, PoolTimeout, OSError):
        app.add_exception_handler(kind, handle)
