"""Bases of every schema: strict input without unknown fields, and output that reads rows."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.core.money import MAX_AMOUNT

MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
"""`date-time` of RFC 3339, 5.6."""

INTEGER = re.compile(r"-?\d+", re.ASCII)
CANONICAL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SURROGATE = re.compile(r"[\ud800-\udfff]")

BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LINE_ENDS = frozenset({"Cc", "Zl", "Zp"})
"""Unicode categories of control characters, line and paragraph separators."""

BLANK = (
    " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
    "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
"""What nobody sees at the beginning and the end of a line: spaces, and characters without width."""


def _has_surrogate(value: str) -> bool:
    return not value.isascii() and SURROGATE.search(value) is not None


def _refuse_control(value: str) -> str:
    if "\x00" in value:
        raise ValueError("NUL characters are not allowed")
    if _has_surrogate(value):
        raise ValueError("the text is not valid Unicode")
    return value


def _refuse_loose_integer(value: object) -> object:
    if isinstance(value, bool | float | str):
        raise ValueError("an integer is due")
    return value


def _line(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value.strip(BLANK)
    _refuse_control(value)
    if any(unicodedata.category(character) in LINE_ENDS for character in value):
        raise PydanticCustomError("not_one_line", "control characters and line breaks are not allowed")
    if not BIDI_CONTROLS.isdisjoint(value):
        raise PydanticCustomError("bidi_control", "characters that turn the direction are not allowed")
    return unicodedata.normalize("NFC", value.strip(BLANK))


def _plain_integer(value: object) -> object:
    if isinstance(value, str) and not INTEGER.fullmatch(value):
        raise PydanticCustomError("int_parsing", "decimal digits are due")
    return value


def _canonical_id(value: object) -> object:
    if isinstance(value, str) and not CANONICAL_ID.fullmatch(value):
        raise PydanticCustomError("id_not_canonical", "an id in its canonical form is due")
    return value


def _moment(value: object) -> datetime:
    """The moment in UTC, of a caller's text or of a row."""
    try:
        if isinstance(value, str) and MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise PydanticCustomError("out_of_range", "there is no such moment in the years 1 to 9999") from None
    raise PydanticCustomError("not_rfc_3339", "a moment as in RFC 3339 is due, with `Z` or an offset")


def _z(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_refuse_control)]
"""Text without NUL; give every use a `max_length`."""

Line = Annotated[str, AfterValidator(_line)]
"""A single line that people read, trimmed and in NFC; give every use a `max_length`.

What has a `min_length` is not blank either.
"""

StrictInt = Annotated[int, BeforeValidator(_refuse_loose_integer)]
"""An integer of a JSON body: no boolean, no float, no string."""

QueryInt = Annotated[int, BeforeValidator(_plain_integer)]
"""An integer of a query: decimal digits, with a minus at most."""

PathId = Annotated[UUID, BeforeValidator(_canonical_id)]
"""An id in a path. Every thing has one address, so the other ways to write a UUID are no ids (404)."""

Amount = Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT, description="Minor units of `currency`.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.", examples=["EUR"])]
Timestamp = Annotated[
    datetime, BeforeValidator(_moment), PlainSerializer(_z, return_type=str, when_used="json")
]
"""RFC 3339, with `Z` or an offset in what is sent, in UTC with `Z` in what is answered."""


def _without_tag(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError as error:
        raise ValidationError.from_exception_data(
            error.title,
            [
                InitErrorDetails(
                    type=PydanticCustomError(item["type"], item["msg"]),
                    loc=item["loc"][1:],
                    input=item["input"],
                )
                for item in error.errors(include_url=False)
            ],
        ) from None


Untagged = WrapValidator(_without_tag)
"""Beside the discriminator of a union: its faults point into the body, without the name of the kind."""


class Input(BaseModel):
    """A body: unknown fields are refused and values are not coerced."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=False, strict=False, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _no_nul_anywhere(cls, data: Any) -> Any:
        """PostgreSQL cannot store NUL in text or jsonb, so it is refused wherever it stands."""
        if isinstance(data, dict) and _has_nul(data):
            raise _nul_refused(cls.__name__, data)
        return data


def _has_nul(value: object) -> bool:
    """Whether a NUL or a lone surrogate stands anywhere; a loop, so that depth cannot exhaust the stack."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\x00" in item or _has_surrogate(item):
                return True
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


def _nul_refused(title: str, data: dict[str, Any]) -> ValidationError:
    """The fault of what `_has_nul` found, with its place."""
    fault = PydanticCustomError("invalid", "NUL and lone surrogates are not allowed")
    return ValidationError.from_exception_data(
        title, [InitErrorDetails(type=fault, loc=_place_of_nul(data), input=None)]
    )


def _place_of_nul(data: dict[str, Any]) -> tuple[int | str, ...]:
    """Where the first one stands; that of the object when it is in a name."""
    pending: list[tuple[object, tuple[int | str, ...]]] = [(data, ())]
    while pending:
        item, place = pending.pop()
        if isinstance(item, str) and _has_nul(item):
            return place
        if isinstance(item, dict):
            pending.extend((inner, (*place, name)) for name, inner in item.items() if not _has_nul(name))
        elif isinstance(item, list):
            pending.extend((inner, (*place, number)) for number, inner in enumerate(item))
    return ()


class Patch(Input):
    """A partial body: only the fields that were sent count (`model_fields_set`)."""

    def changes(self, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The fields that were sent, as Python values."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in without}


def absent() -> Any:
    """The value of a field that was not sent: `model_fields_set` says so, and null itself is refused."""
    return None


def once(values: list[Any]) -> list[Any]:
    """Each value once, in the order in which they come."""
    return list(dict.fromkeys(values))


def null_if_blank(value: str) -> str | None:
    """Null for text that is empty once it is trimmed."""
    return value or None


class Query(BaseModel):
    """Query parameters: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _no_nul_anywhere(cls, data: Any) -> Any:
        if isinstance(data, dict) and _has_nul(data):
            raise _nul_refused(cls.__name__, data)
        return data


class NoParameters(Query):
    """The query of what is answered whole: a filter that was meant to narrow it is refused like any other."""


class Output(BaseModel):
    """An answer; reads attributes of rows."""

    model_config = ConfigDict(from_attributes=True)


class PublicProfile(Output):
    """The only thing that is shown of another person."""

    id: UUID
    full_name: str | None
    avatar_url: str | None
