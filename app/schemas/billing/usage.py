"""What callers send and get about what is used."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.schemas.base import Input, Output, Query, StrictInt, Text, Timestamp

DAY_LENGTH = len("2026-11-01")


def _day(value: object) -> object:
    if isinstance(value, str) and (len(value) != DAY_LENGTH or not value.isascii()):
        raise PydanticCustomError("date_parsing", "a day as in `2026-11-01` is due")
    return value


class UsageQuery(Query):
    """Which period."""

    period: Annotated[date, BeforeValidator(_day)] | None = Field(
        None,
        description="The first day of a period; without it the present one, with what is there now.",
        examples=["2026-11-01"],
    )


class UsageRead(Output):
    """How much of one limit is used. A counter begins anew each period, a gauge counts what is there."""

    metric: str = Field(examples=["orders", "api_calls"])
    kind: Literal["counter", "gauge"]
    used: int
    limit: int | None = Field(description="Null is without limit.")
    percent: int | None = Field(description="Rounded down, above 100 too; null without a limit.")
    resets_at: Timestamp | None = Field(description="When the next period begins; null of a gauge.")
    what_counts: str
    how_to_reduce: str


class UsageList(Output):
    """Every limit of the plan, always on one page."""

    items: list[UsageRead]
    next_cursor: None
    total: int


class UsageEventCreate(Input):
    """Something that was made elsewhere and counts here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"metric": "renders", "quantity": 1, "idempotency_key": "render-0198c0de"}]
        }
    )

    metric: Literal["renders"]
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
    idempotency_key: Annotated[Text, Field(min_length=1, max_length=200)] = Field(
        description="The id of what was made. It counts once, however often it is sent."
    )


class UsageEventRead(Output):
    """What was counted, and what is used with it."""

    metric: str
    quantity: int
    idempotency_key: str
    period: str = Field(description="The first day of the period.", examples=["2026-11-01"])
    used: int
    limit: int | None
    resets_at: Timestamp
