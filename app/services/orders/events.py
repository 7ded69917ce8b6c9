"""What is told of orders and discount codes, to their organisation and to customers' webhooks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission
from app.models.orders import Order

MAX_ITEM_BYTES = 16_384
"""What the lines may take of an event; `items_count` tells a reader when some were left out."""


@dataclass(frozen=True, kw_only=True)
class OrderEvent(Event):
    """What every event of an order says; amounts in minor units of `currency`."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.orders_read
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("order", "order_id")
    audit: ClassVar[AuditSpec | str] = "The order's own history keeps it."

    order_id: UUID
    order_number: str | None
    status: str
    payment_status: str
    hold_reason: str | None
    currency: str
    total_amount: int
    amount_paid: int
    amount_refunded: int
    customer_email: str | None
    items: list[dict[str, Any]]
    items_count: int
    version: int


@dataclass(frozen=True, kw_only=True)
class OrderPlaced(OrderEvent):
    """An order was placed."""

    type: ClassVar[str] = "order.created"
    description: ClassVar[str] = "An order was placed: its stock is held and it has a number."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class OrderUpdated(OrderEvent):
    """An order was changed."""

    type: ClassVar[str] = "order.updated"
    description: ClassVar[str] = "Something of an order was changed that has no event of its own."


@dataclass(frozen=True, kw_only=True)
class OrderPaid(OrderEvent):
    """An order was paid, or costs nothing."""

    type: ClassVar[str] = "order.paid"
    description: ClassVar[str] = "An order was paid in full, or costs nothing."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class OrderProcessing(OrderEvent):
    """Making or packing an order has begun."""

    type: ClassVar[str] = "order.processing"
    description: ClassVar[str] = "Making or packing an order has begun."


@dataclass(frozen=True, kw_only=True)
class OrderShipped(OrderEvent):
    """Everything of an order has left."""

    type: ClassVar[str] = "order.shipped"
    description: ClassVar[str] = "Everything of an order has left the seller."
    handlers: ClassVar[tuple[str, ...]] = ("mail",)

    carrier: str | None
    tracking_number: str | None
    tracking_url: str | None


@dataclass(frozen=True, kw_only=True)
class OrderDelivered(OrderEvent):
    """An order has arrived."""

    type: ClassVar[str] = "order.delivered"
    description: ClassVar[str] = "An order has arrived at the buyer's."
    handlers: ClassVar[tuple[str, ...]] = ("mail",)


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderEvent):
    """An order is both paid and delivered; told once."""

    type: ClassVar[str] = "order.completed"
    description: ClassVar[str] = "An order is paid and delivered; told once per order."


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderEvent):
    """An order was cancelled."""

    type: ClassVar[str] = "order.cancelled"
    description: ClassVar[str] = "An order was cancelled; what it held was given back."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class OrderExpired(OrderEvent):
    """An order was not paid in time."""

    type: ClassVar[str] = "order.expired"
    description: ClassVar[str] = "An order was not paid in time; what it held was given back."


@dataclass(frozen=True, kw_only=True)
class OrderOversold(OrderEvent):
    """An order was paid after it had expired, and its stock is gone."""

    type: ClassVar[str] = "order.oversold"
    description: ClassVar[str] = "An expired order was paid, and there is too little stock left for it."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class OrderTrackRequested(Event):
    """Somebody asked for the link to an order; null when no order fits. Private: `expires_at`, `locale`.

    It is emitted either way, so that the answer takes as long whether or not the order exists.
    """

    type: ClassVar[str] = "order.track_requested"
    description: ClassVar[str] = "The link by which a buyer follows an order was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    audit: ClassVar[AuditSpec | str] = "It changes nothing; the mail that follows is kept."

    organization_id: UUID | None
    order_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class DiscountEvent(Event):
    """What every event of a discount code says; `value` is basis points or minor units, as `kind` says."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.orders_read
    subject: ClassVar[tuple[str, str] | None] = ("discount", "discount_id")
    audit: ClassVar[AuditSpec | str] = "The discount code and the orders that used it keep it."

    discount_id: UUID
    code: str
    kind: str
    value: int
    currency: str | None
    redeemed: int
    max_redemptions: int | None
    is_active: bool


@dataclass(frozen=True, kw_only=True)
class DiscountCreated(DiscountEvent):
    """A discount code was made."""

    type: ClassVar[str] = "discount.created"
    description: ClassVar[str] = "A discount code was made."


@dataclass(frozen=True, kw_only=True)
class DiscountUpdated(DiscountEvent):
    """A discount code was changed, or switched off because orders have used it."""

    type: ClassVar[str] = "discount.updated"
    description: ClassVar[str] = "A discount code was changed, or switched off instead of deleted."


@dataclass(frozen=True, kw_only=True)
class DiscountDeleted(DiscountEvent):
    """A discount code that no order ever used was removed."""

    type: ClassVar[str] = "discount.deleted"
    description: ClassVar[str] = "A discount code that no order ever used was removed."


@dataclass(frozen=True, kw_only=True)
class RefundFacts:
    """What an event says of one refund."""

    refund_id: UUID
    amount: int
    reason: str
    status: str


@dataclass(frozen=True, kw_only=True)
class OrderRefunded(OrderEvent):
    """Money of an order was given back."""

    type: ClassVar[str] = "order.refunded"
    description: ClassVar[str] = "Money of an order was given back, all of it or a part."
    handlers: ClassVar[tuple[str, ...]] = ("mail",)

    refund: RefundFacts


@dataclass(frozen=True, kw_only=True)
class OrderPaymentFailed(OrderEvent):
    """The buyer's payment was refused."""

    type: ClassVar[str] = "order.payment_failed"
    description: ClassVar[str] = "A payment of an order was refused; the buyer may try again."
    handlers: ClassVar[tuple[str, ...]] = ("mail",)

    payment_failure_code: str | None


@dataclass(frozen=True, kw_only=True)
class OrderActionRequired(OrderEvent):
    """The buyer's bank wants the buyer to confirm a payment; told once of an attempt."""

    type: ClassVar[str] = "order.payment_action_required"
    description: ClassVar[str] = "A payment waits until the buyer has confirmed it at the bank."
    audience: ClassVar[Audience] = "internal"
    read_permission: ClassVar[Permission | None] = None
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail",)


@dataclass(frozen=True, kw_only=True)
class OrderPaymentHeld(OrderEvent):
    """Money arrived that is not what the order costs."""

    type: ClassVar[str] = "order.payment_held"
    description: ClassVar[str] = "A payment of another amount or currency arrived: accept or refund it."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)
    webhook: ClassVar[bool] = False


DisputeState = Literal["inquiry", "inquiry_closed", "open", "won", "lost"]
"""How a dispute stands for the seller: the bank merely asks, holds the money, or has decided."""


@dataclass(frozen=True, kw_only=True)
class DisputeFacts:
    """What an event says of one dispute; `amount` in minor units of `currency`."""

    state: DisputeState
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class OrderDisputed(OrderEvent):
    """The buyer's bank asks about the payment of an order, has taken the money back, or has decided."""

    type: ClassVar[str] = "order.disputed"
    description: ClassVar[str] = (
        "A payment is disputed, or the bank asks, or has decided: see `dispute.state`."
    )
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    dispute: DisputeFacts


@dataclass(frozen=True, kw_only=True)
class OrderRefundFailed(OrderEvent):
    """Money that was to go back has not arrived at the buyer's."""

    type: ClassVar[str] = "order.refund_failed"
    description: ClassVar[str] = "A refund of an order has failed; what it stood for can be refunded again."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    refund: RefundFacts


@dataclass(frozen=True, kw_only=True)
class OrderReturned(OrderEvent):
    """Everything of an order has come back."""

    type: ClassVar[str] = "order.returned"
    description: ClassVar[str] = "Everything of an order has come back to the seller."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class OrderMoneyInconsistent(OrderEvent):
    """Amounts of an order do not follow from each other: an alert for the operators."""

    type: ClassVar[str] = "order.money_inconsistent"
    description: ClassVar[str] = "Stored amounts of an order do not follow from each other."
    audience: ClassVar[Audience] = "internal"
    read_permission: ClassVar[Permission | None] = None
    webhook: ClassVar[bool] = False
    audit: ClassVar[AuditSpec | str] = "Nobody acted: it is an alert for the operators."

    differences: list[str]


OrderEventKind = Callable[..., OrderEvent]
"""A class of events, or one with the members that only it has: `partial(OrderRefunded, refund=…)`."""


def order_event(kind: OrderEventKind, order: Order, items: Sequence[dict[str, Any]]) -> OrderEvent:
    """The event of an order as it stands now; `items` are its lines as JSON values."""
    more: dict[str, Any] = {}
    if kind is OrderShipped:
        more = {name: getattr(order, name) for name in ("carrier", "tracking_number", "tracking_url")}
    elif kind is OrderPaymentFailed:
        more = {"payment_failure_code": order.payment_failure_code}
    return kind(
        order_id=order.id,
        order_number=order.order_number,
        status=order.status,
        payment_status=order.payment_status,
        hold_reason=order.hold_reason,
        currency=order.currency,
        total_amount=order.total_amount,
        amount_paid=order.amount_paid,
        amount_refunded=order.amount_refunded,
        customer_email=order.customer_email,
        items=_lines(items),
        items_count=len(items),
        version=order.version,
        **more,
    )


def _lines(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many lines, in order, as an event has room for."""
    lines: list[dict[str, Any]] = []
    left = MAX_ITEM_BYTES
    for item in items:
        line = {
            "item_id": str(item["id"]),
            "product_id": None if item["product_id"] is None else str(item["product_id"]),
            "sku": item["sku"],
            "name": item["name"],
            "quantity": item["quantity"],
        }
        left -= len(json.dumps(line))
        if left < 0:
            break
        lines.append(line)
    return lines
