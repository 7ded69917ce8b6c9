"""What is wrong with a request that cannot be read or is not valid, told without repeating what was sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from app.core.errors.family import (
    AppError,
    BadRequest,
    BodyTooLarge,
    FieldError,
    Invalid,
    NotFound,
    UnsupportedMediaType,
    method_not_allowed,
)

PYDANTIC_CODES = {"missing": "required", "value_error": "invalid"}
"""pydantic's names of faults that are ours under another name; the rest is good as it is."""

PYDANTIC_DETAILS = {
    "union_tag_invalid": "This is not one of the known kinds.",
    "uuid_parsing": "This is not a UUID.",
}
"""Sentences in place of those of pydantic that would repeat what was sent."""


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


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
        return BadRequest("malformed_json", "Send valid JSON in UTF-8, in which no object has a name twice.")
    return Invalid(
        "validation_error",
        "Some of what was sent is not valid; see `errors`.",
        errors=[_fault(item) for item in found[:100]],
    )


def unreadable(headers: Mapping[str, str] | None = None) -> BadRequest:
    """400 for a body of which not even the form can be read."""
    return BadRequest("malformed_request", "The body cannot be read; send it again, whole.", headers=headers)


def from_http(error: StarletteHTTPException) -> AppError:
    """What the framework refuses, in our words: no such address or method, a body that cannot be read."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return NotFound(detail="There is no such address; see /docs.", headers=headers)
        case 405:
            return method_not_allowed()
        case 413:
            # What is left of the body is not read, so the connection cannot serve another request.
            headers["Connection"] = "close"
            return BodyTooLarge("body_too_large", str(error.detail), headers=headers)
        case 415:
            return UnsupportedMediaType("unsupported_media_type", str(error.detail), headers=headers)
        case _:
            return unreadable(headers)


def _fault(item: Mapping[str, Any]) -> FieldError:
    detail = PYDANTIC_DETAILS.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    return FieldError(_pointer(item["loc"][1:]), PYDANTIC_CODES.get(item["type"], item["type"]), detail[:500])


def _pointer(location: Sequence[int | str]) -> str:
    """The JSON pointer of a place. Names in it may be the caller's own, so each is cut to a sane length."""
    return "".join("/" + str(part)[:100].replace("~", "~0").replace("/", "~1") for part in location[:32])
