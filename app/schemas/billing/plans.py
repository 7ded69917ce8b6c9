"""Shapes of the price list, and of what the platform's staff changes in it."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StrictBool

from app.core.paging import PageQuery
from app.schemas.base import Amount, Currency, Input, Line, Output, Patch, StrictInt, Text, Timestamp

Interval = Literal["month", "year"]
PlanCode = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{1,39}$", description="`code` of a plan.", examples=["premium"]),
]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Limit = Annotated[StrictInt, Field(ge=0, le=9_007_199_254_740_991)]


class PriceRead(Output):
    """What a plan costs."""

    currency: Currency
    interval: Interval
    amount: Amount


class PlanRead(Output):
    """A plan of the price list."""

    code: str = Field(examples=["premium"])
    name: str
    description: str
    rank: int = Field(description="A plan of higher rank has more.")
    trial_days: int
    features: dict[str, bool]
    limits: dict[str, int | None] = Field(description="null: without a limit.")
    prices: list[PriceRead]


class PlanList(Output):
    """The price list, on one page."""

    items: list[PlanRead]
    next_cursor: None = Field(None, description="Always null: there is one page.")
    total: int


class PriceInput(Input):
    """A price that is asked from now on."""

    currency: Currency
    interval: Interval
    amount: Amount


class PlanUpdate(Patch):
    """What changes of a plan; `features`, `limits` and `prices` are replaced whole."""

    name: Annotated[Line, Field(min_length=1, max_length=80)] = "Premium"
    description: Annotated[Text, Field(max_length=2000)] = ""
    rank: Annotated[StrictInt, Field(ge=0, le=1000)] = 10
    is_public: StrictBool = True
    trial_days: Annotated[StrictInt, Field(ge=0, le=90)] = 0
    features: Annotated[dict[Name, StrictBool], Field(max_length=50)] = Field(
        {}, examples=[{"custom_roles": True}]
    )
    limits: Annotated[dict[Name, Limit | None], Field(max_length=50)] = Field(
        {}, examples=[{"products": 500}]
    )
    prices: Annotated[list[PriceInput], Field(max_length=20)] = Field(
        [], examples=[[{"currency": "EUR", "interval": "month", "amount": 4700}]]
    )


class GrantQuery(PageQuery):
    """Filters of the list of grants."""

    organization_id: UUID | None = Field(None, description="Of this organisation only.")


class GrantCreate(Input):
    """A plan that an organisation gets by contract."""

    organization_id: UUID
    plan: PlanCode
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    note: Annotated[Line, Field(min_length=1, max_length=500, examples=["Contract 2026-17"])]


class GrantRead(Output):
    """A plan that an organisation has by contract."""

    id: UUID
    organization_id: UUID
    plan: str
    starts_at: Timestamp
    ends_at: Timestamp | None
    note: str
    granted_by: str
    created_at: Timestamp
