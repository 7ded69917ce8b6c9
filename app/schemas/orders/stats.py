"""What callers ask and get about orders in numbers."""

from pydantic import Field

from app.schemas.base import Output, Query, Timestamp
from app.schemas.orders.words import OrderStatus, PaymentStatus

LONGEST_RANGE_DAYS = 366
DEFAULT_RANGE_DAYS = 30


class OrderStatsQuery(Query):
    """The orders that are counted: those made from `from` on and before `to`."""

    from_: Timestamp | None = Field(
        None, alias="from", description=f"Default: {DEFAULT_RANGE_DAYS} days before `to`."
    )
    to: Timestamp | None = Field(
        None, description=f"Default: now. At most {LONGEST_RANGE_DAYS} days after `from`."
    )


class CurrencyStats(Output):
    """The orders of one currency; amounts in its minor units, null for callers without `billing:read`."""

    currency: str
    orders_count: int
    by_status: dict[OrderStatus, int]
    by_payment_status: dict[PaymentStatus, int]
    gross_amount: int | None = Field(description="What buyers paid.")
    refunded_amount: int | None = Field(description="What they were given back of it.")
    net_amount: int | None = Field(description="What is left of it.")
    average_amount: int | None = Field(description="What was paid per paid order, rounded; 0 without one.")


class OrderStats(Output):
    """Orders in numbers, per currency; never a sum over currencies."""

    from_: Timestamp = Field(serialization_alias="from")
    to: Timestamp
    currencies: list[CurrencyStats] = Field(description="One per currency that orders were made in.")
