"""What callers send with an act on an order. Most acts need no body at all."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.base import Amount, Input, Line, StrictInt
from app.schemas.orders.bodies import Carrier, TrackingNumber, TrackingUrl
from app.schemas.orders.words import NoCardNumber, Version

Reason = Annotated[Line, NoCardNumber, Field(max_length=500, description="Kept in the order's history.")]


class OrderAct(Input):
    """Any act: `version` refuses it when the order was changed meanwhile."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    version: Version | None = None


class OrderReason(OrderAct):
    """An act that may say why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The buyer asked for it."}]})

    reason: Reason | None = None


class HoldRelease(OrderAct):
    """Why the hold has ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The address was confirmed."}]})

    reason: Annotated[Reason, Field(min_length=1)]


class OrderSubmit(OrderAct):
    """Places a draft."""

    expected_total: Amount | None = Field(
        default=None, description="Refuse with 409 `price_changed` when the total is another one."
    )


class PaymentAccept(OrderAct):
    """Why a payment of another amount is taken for the whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Agreed with the buyer."}]})

    reason: Annotated[Reason, Field(min_length=1)]


class ManualPayment(OrderAct):
    """Money that arrived outside the payment provider; `amount` must be the order's total."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"method": "bank_transfer", "reference": "VIR 2026-114", "amount": 4780}]
        }
    )

    method: Literal["bank_transfer", "cash", "other"]
    reference: Annotated[Line, Field(max_length=200)] | None = None
    amount: Amount


class ShippedLine(Input):
    """Units of one line that leave now."""

    item_id: UUID
    quantity: Annotated[StrictInt, Field(ge=1, le=100_000)]


class OrderShip(OrderAct):
    """What leaves, and with whom. Without `lines` everything that has not left yet does."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"carrier": "Colissimo", "tracking_number": "6A12345678901"}]}
    )

    carrier: Carrier | None = None
    tracking_number: TrackingNumber | None = None
    tracking_url: TrackingUrl | None = None
    lines: Annotated[list[ShippedLine], Field(min_length=1, max_length=1000)] | None = None
