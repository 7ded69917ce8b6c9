"""What callers send and get about discount codes."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from app.core.paging import PageQuery
from app.schemas.base import Amount, Currency, Input, Output, Patch, Text, Timestamp, absent
from app.schemas.orders.values import Count
from app.schemas.orders.words import Version

DiscountKind = Literal["percent", "fixed", "free_shipping"]
DiscountSort = Literal["-created_at", "created_at", "code", "-code"]

Code = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{3,40}$", description="Kept in capitals.", examples=["SUMMER25"]),
    AfterValidator(str.upper),
]

EXTREMES = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _finite(moment: datetime) -> datetime:
    # The driver takes the first and the last moment for infinities, which it reads back without a zone.
    if moment in EXTREMES:
        raise PydanticCustomError("out_of_range", "the first and the last moment there is can't be kept")
    return moment


KeptMoment = Annotated[Timestamp, AfterValidator(_finite)]

VALUE = "Basis points (`percent`, 1 to 10000), minor units (`fixed`), or 0 (`free_shipping`)."
CURRENCY = "Only orders in this currency; due with `fixed` and with a minimum."
MINIMUM = "What the goods must cost at least, in minor units."
MOST = "How many orders may use it; null: any number."
MOST_EACH = "How many orders of one buyer may use it; null: any number."
STARTS = "From this moment on."
ENDS = "Until just before this moment."


class DiscountQuery(PageQuery):
    """Filters of the list of discount codes."""

    q: Annotated[Text, Field(min_length=1, max_length=40)] | None = Field(
        None, description="A part of the code, in any case."
    )
    is_active: bool | None = Field(None, description="Whether it is switched on.")
    sort: DiscountSort = Field("-created_at", description="Order of the list; `-` means descending.")


class DiscountCreate(Input):
    """A new code. What it takes off is said by `kind` and `value`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "SUMMER25", "kind": "percent", "value": 2500, "max_redemptions": 100}]
        }
    )

    code: Code
    kind: DiscountKind
    value: Amount = Field(0, description=VALUE)
    currency: Currency | None = Field(None, description=CURRENCY)
    min_subtotal: Amount = Field(0, description=MINIMUM)
    max_redemptions: Count | None = Field(None, description=MOST)
    max_per_customer: Count | None = Field(None, description=MOST_EACH)
    starts_at: KeptMoment | None = Field(None, description=STARTS)
    ends_at: KeptMoment | None = Field(None, description=ENDS)
    is_active: StrictBool = True


class DiscountUpdate(Patch):
    """The fields to change; `code` and `kind` stay as they were made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_redemptions": 200, "version": 1}]})

    value: Amount = Field(default_factory=absent, description=VALUE)
    currency: Currency | None = Field(None, description=CURRENCY)
    min_subtotal: Amount = Field(default_factory=absent, description=MINIMUM)
    max_redemptions: Count | None = Field(None, description=MOST)
    max_per_customer: Count | None = Field(None, description=MOST_EACH)
    starts_at: KeptMoment | None = Field(None, description=STARTS)
    ends_at: KeptMoment | None = Field(None, description=ENDS)
    is_active: StrictBool = Field(default_factory=absent)
    version: Version | None = None


class DiscountRead(Output):
    """A discount code."""

    id: UUID
    code: str
    kind: DiscountKind
    value: int = Field(description=VALUE)
    currency: str | None = Field(description=CURRENCY)
    min_subtotal: int = Field(description=MINIMUM)
    max_redemptions: int | None = Field(description=MOST)
    redeemed: int = Field(description="How many orders use it; one that is cancelled or expires does not.")
    max_per_customer: int | None = Field(description=MOST_EACH)
    starts_at: Timestamp | None = Field(description=STARTS)
    ends_at: Timestamp | None = Field(description=ENDS)
    is_active: bool
    version: int
    created_at: Timestamp
    updated_at: Timestamp
