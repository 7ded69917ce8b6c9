"""What the API tells about how an order's amounts came about; amounts are integers in minor units."""

from typing import Any

from pydantic import Field

from app.schemas.base import Output
from app.schemas.orders.answers import OrderPaymentRead
from app.schemas.orders.refunds import RefundedLine, RefundRead


class ExplainedStep(Output):
    """One step of the price, done again on the stored inputs."""

    step: str
    formula: str
    inputs: dict[str, Any]
    result: dict[str, Any]
    stored: dict[str, Any] | None = Field(description="What is stored instead, where the step differs.")
    is_consistent: bool


class Refundable(Output):
    """What could be given back now. No part is more than `amount`, which is for all parts together."""

    amount: int
    shipping: int
    lines: list[RefundedLine]


class OrderExplanation(Output):
    """How an order's amounts came about, and whether they still follow from each other."""

    pricing: dict[str, Any]
    steps: list[ExplainedStep]
    payments: list[OrderPaymentRead] | None = Field(description="Null for callers without `orders:write`.")
    refunds: list[RefundRead]
    refundable: Refundable
    is_consistent: bool
