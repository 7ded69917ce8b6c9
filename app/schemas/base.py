"""Bases of every schema: strict input without unknown fields, and output that reads rows."""

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
    model_validator,
)

from app.core.money import MAX_AMOUNT


def _refuse_control(value: str) -> str:
    if "\x00" in value:
        raise ValueError("NUL characters are not allowed")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("the text is not valid Unicode")
    return value


def _refuse_loose_integer(value: object) -> object:
    if isinstance(value, bool | float | str):
        raise ValueError("an integer is due")
    return value


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is out of range") from None


def _z(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_refuse_control)]
"""Text without NUL; give every use a `max_length`."""

StrictInt = Annotated[int, BeforeValidator(_refuse_loose_integer)]
"""An integer of a JSON body: no boolean, no float, no string."""

Amount = Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT, description="Minor units of `currency`.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.", examples=["EUR"])]
Timestamp = Annotated[
    datetime, AfterValidator(_to_utc), PlainSerializer(_z, return_type=str, when_used="json")
]
"""RFC 3339 in UTC with `Z`."""


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
            raise ValueError("NUL characters are not allowed")
        return data


def _has_nul(value: object) -> bool:
    """Whether a NUL or a lone surrogate stands anywhere; a loop, so that depth cannot exhaust the stack."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\x00" in item or any("\ud800" <= character <= "\udfff" for character in item):
                return True
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


class Patch(Input):
    """A partial body: only the fields that were sent count (`model_fields_set`)."""

    def changes(self, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The fields that were sent, as Python values."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in without}


class Query(BaseModel):
    """Query parameters: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _no_nul_anywhere(cls, data: Any) -> Any:
        if isinstance(data, dict) and _has_nul(data):
            raise ValueError("NUL characters are not allowed")
        return data


class Output(BaseModel):
    """An answer; reads attributes of rows."""

    model_config = ConfigDict(from_attributes=True)


class PublicProfile(Output):
    """The only thing that is shown of another person."""

    id: UUID
    full_name: str | None
    avatar_url: str | None
