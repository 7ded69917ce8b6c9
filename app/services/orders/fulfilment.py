"""Making, holding, shipping and delivering orders."""

from collections.abc import Sequence
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Invalid, NotFound
from app.models.orders import Order, OrderItem
from app.repositories.orders.refunds import PaymentRepository
from app.schemas.orders import HoldRelease, OrderDetail, OrderReason, OrderShip, ShippedLine
from app.services.orders.applying import SECOND_CHANCE
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.events import (
    OrderCompleted,
    OrderDelivered,
    OrderEvent,
    OrderProcessing,
    OrderShipped,
    OrderUpdated,
)
from app.services.orders.lines import product_ids
from app.services.orders.states import SHIPPABLE, invalid_transition, refuse_hold
from app.services.products.stock import StockService, insufficient_stock

HOLDABLE = frozenset({"pending", "confirmed", "processing"})

OPEN = frozenset({"confirmed", "processing"})
"""Orders that still need their pieces."""

MISMATCHES = frozenset({"amount_mismatch", "currency_mismatch"})
"""Holds because of money that does not fit the order."""


class FulfilmentService:
    """Moves paid orders towards their buyers."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.payments = PaymentRepository(session)

    async def process(self, reference: str, body: OrderReason, etags: Etags) -> OrderDetail:
        """Begin to make or pack a confirmed order; an order in the making stays as it is.

        409 `invalid_transition`, `order_on_hold`.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        if order.status == "processing":
            return await self.desk.unchanged(order)
        return await self.desk.put_back(order, *self.begin(order))

    def begin(self, order: Order) -> list[type[OrderEvent]]:
        """Make a locked order one in the making."""
        if order.status != "confirmed":
            raise invalid_transition(order, "processing")
        refuse_hold(order)
        order.status = "processing"
        return [OrderProcessing]

    async def hold(self, reference: str, body: OrderReason, etags: Etags) -> OrderDetail:
        """Stop fulfilment; an order that is held by hand stays as it is.

        409 `order_on_hold` when something else holds it, `invalid_transition` once it has left.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        if order.hold_reason == "manual":
            return await self.desk.unchanged(order)
        if order.status not in HOLDABLE:
            raise invalid_transition(order, "on_hold")
        refuse_hold(order)
        order.hold_reason = "manual"
        return await self.desk.put_back(order, OrderUpdated)

    async def release_hold(self, reference: str, body: HoldRelease, etags: Etags) -> OrderDetail:
        """Let fulfilment go on; an oversold order takes its stock now.

        409 `order_not_on_hold`, `insufficient_stock`, `payment_unresolved` while money that does not fit lies
        there, and `hold_not_releasable` for a dispute, with which the hold ends by itself.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        match order.hold_reason:
            case None:
                raise Conflict("order_not_on_hold", "Nothing holds this order.")
            case "dispute" if order.payment_status != "charged_back":
                raise Conflict(
                    "hold_not_releasable", "This hold ends with the dispute.", hold_reason=order.hold_reason
                )
            case "oversold" if order.status in OPEN:
                await self._take_stock(order)
            case reason if reason in MISMATCHES and await self.payments.has_unresolved(order.id):
                raise Conflict("payment_unresolved", "Accept the payment that does not fit, or refund it.")
        # What held the order before a dispute is over; the dispute itself is not.
        order.hold_reason = "dispute" if order.payment_status == "disputed" else None
        if order.status == "pending" and order.reservation_expires_at is None:
            # The money that did not fit is gone; the buyer has a while to pay again.
            order.reservation_expires_at = await self.session.now() + SECOND_CHANCE
        return await self.desk.put_back(order, OrderUpdated)

    async def _take_stock(self, order: Order) -> None:
        """Take the pieces that an order was paid for after they had been given back."""
        items = await self.desk.orders.items(order.id)
        short = await self.stock.retake(order.id, product_ids(items))
        if short:
            raise insufficient_stock(short, "There is still too little stock; put it in stock first.")

    async def ship(self, reference: str, body: OrderShip, etags: Etags) -> OrderDetail:
        """Write down what leaves: everything, or the units of some lines.

        409 `invalid_transition`, `order_on_hold`, `payment_required`, `payment_not_captured`; 404
        `item_not_found`; 422 `quantity_exceeded`.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags)
        for name in ("carrier", "tracking_number", "tracking_url"):
            if name in body.model_fields_set:
                setattr(order, name, getattr(body, name))
        return await self.desk.put_back(order, *await self.send(order, body.lines))

    async def send(self, order: Order, lines: Sequence[ShippedLine] | None = None) -> list[type[OrderEvent]]:
        """Ship a locked order, or a part of it: it is shipped when every unit has left."""
        if order.status not in {"confirmed", "processing"}:
            raise invalid_transition(order, "shipped")
        refuse_hold(order)
        refuse_unpaid(order)
        items = await self.desk.orders.items(order.id)
        if lines is None:
            for item in items:
                item.fulfilled_quantity = max(item.fulfilled_quantity, leaving(item))
        else:
            _count_shipped(items, lines)
        if all(item.fulfilled_quantity >= leaving(item) for item in items):
            order.status = "shipped"
            order.shipped_at = await self.session.now()
            return [OrderShipped]
        return self.begin(order) if order.status == "confirmed" else [OrderUpdated]

    async def deliver(self, reference: str, body: OrderReason, etags: Etags) -> OrderDetail:
        """Write down that a shipped order has arrived; an order that has stays as it is.

        409 `invalid_transition`.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        if order.status == "delivered":
            return await self.desk.unchanged(order)
        return await self.desk.put_back(order, *await self.arrive(order))

    async def arrive(self, order: Order) -> list[type[OrderEvent]]:
        """Make a locked order a delivered one; with its money it is complete."""
        if order.status != "shipped":
            raise invalid_transition(order, "delivered")
        order.status = "delivered"
        order.delivered_at = await self.session.now()
        if order.payment_status not in SHIPPABLE:
            return [OrderDelivered]
        order.completed_at = order.delivered_at
        return [OrderDelivered, OrderCompleted]


def refuse_unpaid(order: Order) -> None:
    """Raise 409 unless the buyer's money is there."""
    if order.payment_status == "authorized":
        raise Conflict("payment_not_captured", "The payment is only authorised; capture it first.")
    if order.payment_status not in SHIPPABLE:
        raise Conflict("payment_required", "The order is not paid; take the payment, then ship it.")


def leaving(item: OrderItem) -> int:
    """How many units of a line leave, now or earlier: not those that went back on the shelf before."""
    return item.quantity - max(0, item.restocked_quantity - item.returned_quantity)


def _count_shipped(items: Sequence[OrderItem], lines: Sequence[ShippedLine]) -> None:
    """Add what leaves to the lines; every unknown line and every excess is named."""
    by_id: dict[UUID, OrderItem] = {item.id: item for item in items}
    unknown = [n for n, line in enumerate(lines) if line.item_id not in by_id]
    if unknown:
        raise NotFound(
            "item_not_found",
            "The order has no such lines; see `errors`.",
            errors=[FieldError(f"/lines/{n}/item_id", "item_not_found", "Unknown line.") for n in unknown],
        )
    for line in lines:
        by_id[line.item_id].fulfilled_quantity += line.quantity
    excess = [
        n
        for n, line in enumerate(lines)
        if by_id[line.item_id].fulfilled_quantity > leaving(by_id[line.item_id])
    ]
    if excess:
        raise Invalid(
            "quantity_exceeded",
            "More units would leave than are due; see `errors`.",
            errors=[
                FieldError(f"/lines/{n}/quantity", "quantity_exceeded", "Too many units.") for n in excess
            ],
        )
