"""What callers ask and get about what the organisation earns and pays."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.core.paging import PageQuery
from app.schemas.base import Currency, Output, Query, Timestamp

LONGEST_RANGE_DAYS = 366
DEFAULT_RANGE_DAYS = 30

Account = Literal["merchant", "platform"]
Source = Literal["order", "design_sale", "custom", "subscription", "api_usage"]
EntryType = Literal["charge", "refund", "refund_reversal", "dispute", "dispute_reversal", "fee", "adjustment"]

GroupBy = Literal["day", "week", "month", "source", "product"]

SignedAmount = Annotated[int, Field(description="Minor units; what went out is negative.")]


class RevenueQuery(Query):
    """Which entries of the ledger are added up, and by what."""

    from_: Timestamp | None = Field(
        None, alias="from", description=f"Default: {DEFAULT_RANGE_DAYS} days before `to`."
    )
    to: Timestamp | None = Field(
        None, description=f"Default: now. At most {LONGEST_RANGE_DAYS} days after `from`."
    )
    group_by: GroupBy = Field(
        "day", description="Days, weeks (from Monday) and months are those of the order settings' time zone."
    )
    currency: Currency | None = Field(None, description="Only in this currency.")
    account: Account = Field(
        "merchant", description="`merchant`: what the organisation earns; `platform`: what it pays us."
    )


class RevenueSums(Output):
    """What came in and went out; `net` is all of it together."""

    charges: SignedAmount
    refunds: SignedAmount = Field(description="With those that came back.")
    disputes: SignedAmount = Field(description="With those that were won.")
    fees: SignedAmount
    adjustments: SignedAmount
    net: SignedAmount


class RevenueGroup(RevenueSums):
    """The sums of one group."""

    key: str | None = Field(
        description="First day of a period, a source, or a product's id; null for money of no product.",
        examples=["2026-11-20"],
    )
    name: str | None = Field(description="The product's name.")


class RevenueCurrency(RevenueSums):
    """The sums of one currency, and its groups."""

    currency: Currency
    groups: list[RevenueGroup] = Field(description="Those in which there was movement.")


class RevenueRead(Output):
    """Revenue per currency; never a sum over currencies."""

    from_: Timestamp = Field(serialization_alias="from")
    to: Timestamp
    account: Account
    group_by: str
    time_zone: str
    currencies: list[RevenueCurrency]


class EntryQuery(PageQuery):
    """Filters and place of a page of entries; the filters that are sent must all apply."""

    from_: Timestamp | None = Field(None, alias="from", description="Recorded at this moment or later.")
    to: Timestamp | None = Field(None, description="Recorded before this moment.")
    currency: Currency | None = Field(None, description="Only in this currency.")
    account: Account | None = Field(None, description="Only of this account; both without it.")
    source: Source | None = Field(None, description="Only of this source.")
    entry_type: EntryType | None = Field(None, description="Only of this kind.")
    order_id: UUID | None = Field(None, description="Only of this order.")


class EntryRead(Output):
    """One movement of money. Entries are never changed or removed."""

    id: UUID
    source: Source
    account: Account
    entry_type: EntryType
    amount: SignedAmount
    currency: Currency
    description: str | None
    source_ref: str = Field(description="The id of what moved it: an intent, a refund, an invoice.")
    order_id: UUID | None
    invoice_id: UUID | None
    recorded_at: Timestamp
