"""The AppError family: one class for each status, and what a refusal says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


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


NOWHERE = "There is no such thing here; check its id, and in which organisation you are."
"""Said of what does not exist and of what is somebody else's, in the same words."""


class NotFound(AppError):
    """404: there is no such thing for this caller, whether or not somebody else has it."""

    status = 404

    def __init__(self, code: str = "not_found", detail: str = NOWHERE, **more: Any) -> None:
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
    """503: something that is needed is down or not configured; `Retry-After` is a minute unless given."""

    status = 503

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(code, detail, headers={"Retry-After": "60", **(headers or {})}, **more)


def version_mismatch(version: int) -> PreconditionFailed:
    """The answer to a write that was made from an older version of the row."""
    return PreconditionFailed(
        "version_mismatch", "Somebody changed this meanwhile; read it again and repeat.", version=version
    )


def method_not_allowed() -> MethodNotAllowed:
    """405; `Allow` is added where it is rendered."""
    return MethodNotAllowed("method_not_allowed", "This address does not know that method; see `Allow`.")
