"""What callers send to give money back or to end an order, and what the API tells about refunds."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.base import Amount, Input, Line, Output, StrictInt, Text, Timestamp
from app.schemas.orders.acts import OrderAct, Reason
from app.schemas.orders.words import NoCardNumber

RefundReason = Literal[
    "requested_by_customer",
    "duplicate",
    "fraudulent",
    "goodwill",
    "returned",
    "cancelled",
    "oversold",
    "order_closed",
    "withdrawal",
    "other",
]
RefundStatus = Literal["pending", "requires_action", "succeeded", "failed", "canceled"]

Reference = Annotated[
    Line, Field(min_length=1, max_length=200, description="Where the money that was given back is found.")
]


class RefundLine(Input):
    """Units of one line that are given back."""

    item_id: UUID
    quantity: Annotated[StrictInt, Field(ge=1, le=100_000)]


class RefundCreate(OrderAct):
    """Money to give back: for lines, for shipping, or an amount by itself.

    Lines and shipping have amounts of their own; `amount` beside them can only lower their sum.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"amount": 1000, "reason": "goodwill", "reference": "VIR 2026-131"}],
        }
    )

    amount: Amount | None = None
    lines: Annotated[list[RefundLine], Field(min_length=1, max_length=1000)] | None = None
    shipping_amount: Amount | None = None
    reason: RefundReason
    note: Annotated[Text, NoCardNumber, Field(max_length=500)] | None = None
    returned: StrictBool = Field(False, description="The units of `lines` have come back.")
    restock: StrictBool = Field(False, description="Put the units of `lines` back on the shelf.")
    payment_id: UUID | None = Field(
        None, description="A payment that was not applied to the order; else the one that was."
    )
    reference: Reference | None = Field(None, description="Due for a payment that was written down by hand.")

    @model_validator(mode="after")
    def _has_an_object(self) -> Self:
        if self.lines is None and not self.amount and not self.shipping_amount:
            raise PydanticCustomError(
                "refund_empty", "send lines, or an amount or shipping_amount of at least 1"
            )
        if self.lines is None and (self.returned or self.restock):
            raise PydanticCustomError("lines_required", "say in lines what has come back")
        return self


class OrderCancel(OrderAct):
    """Ends an order; `refund` says what happens to its money."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The buyer asked for it."}]})

    reason: Reason | None = None
    refund: Literal["full", "none", "amount"] = Field(
        "full", description="What the buyer gets back of what was paid."
    )
    amount: Annotated[Amount, Field(ge=1)] | None = Field(None, description="Due with `refund: amount`.")
    restock: StrictBool | None = Field(
        None,
        description="Whether the pieces go back on the shelf; by default those of lines that are not "
        "personalised do.",
    )
    reference: Reference | None = None

    @model_validator(mode="after")
    def _amount_fits(self) -> Self:
        if (self.refund == "amount") != (self.amount is not None):
            raise PydanticCustomError("amount_not_applicable", "amount goes with refund: amount")
        return self


class RefundedLine(Output):
    """What a refund gives back of one line."""

    item_id: UUID
    quantity: int
    amount: int


class RefundedTax(Output):
    """What a refund gives back at one tax rate."""

    rate_bps: int
    net_amount: int
    tax_amount: int
    gross_amount: int


class RefundRead(Output):
    """One refund of an order; its amounts are positive."""

    id: UUID
    order_id: UUID
    payment_id: UUID
    amount: int
    currency: str
    reason: RefundReason
    note: str | None
    source: Literal["api", "auto", "stripe"]
    status: RefundStatus
    lines: list[RefundedLine]
    shipping_amount: int = Field(description="What of the amount is for shipping.")
    tax_groups: list[RefundedTax]
    is_return: bool
    restock: bool
    reference: str | None
    failure_reason: str | None
    actor_type: str
    actor_id: str | None
    created_at: Timestamp
    updated_at: Timestamp
