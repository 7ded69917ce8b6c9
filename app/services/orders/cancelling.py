"""Cancelling orders, with what they hold and what was paid for them, and deleting drafts."""

from dataclasses import dataclass

from app.core.access import CurrentPrincipal, permission_denied
from app.core.database import Owner
from app.core.errors import Conflict
from app.core.ids import uuid7
from app.core.permissions import Permission
from app.models.orders import Order, OrderItem, OrderPayment
from app.repositories.orders.refunds import LineChange
from app.schemas.orders import OrderCancel, OrderDetail
from app.services.orders.checkout_state import expire_checkout
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.discounts import DiscountService
from app.services.orders.events import OrderCancelled, OrderEventKind
from app.services.orders.faults import fault
from app.services.orders.intents import release_authorisation
from app.services.orders.refund_plan import RefundPlan
from app.services.orders.refunding import RefundService, RefundTerms, has_taken_stock, left_of, told_of
from app.services.orders.states import (
    STATUS_MOVES,
    UNDER_WAY,
    UNPAID,
    invalid_transition,
    is_cancellable,
    refuse_hold,
)
from app.services.products.stock import StockService


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """What of a payment goes back with a cancelled order."""

    payment: OrderPayment
    plan: RefundPlan


class CancellingService:
    """Ends orders, and gives back what they hold and what was paid for them."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.discounts = DiscountService(session, principal)
        self.refunds = RefundService(session, principal)

    async def cancel(self, reference: str, body: OrderCancel, etags: Etags) -> OrderDetail:
        """Cancel an order; a cancelled one stays as it is.

        403 without the permission that the money or the production needs; 409 `invalid_transition`,
        `payment_in_progress`, `order_on_hold`, `order_disputed`, `nothing_to_refund`, and `refund_required`
        for an expired order that was paid; 412; 422 `reason_required`, `refund_exceeds_paid`.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        if order.status == "cancelled":
            return await self.desk.unchanged(order)
        return await self.desk.put_back(order, *await self.end(order, body))

    async def delete(self, reference: str, etags: Etags) -> None:
        """Remove a draft, or cancel an order that is not paid; a cancelled one stays as it is.

        409 `order_not_deletable`.
        """
        order = await self.desk.take(reference, etags=etags)
        if order.status == "cancelled":
            return
        if order.status == "draft":
            await self.desk.orders.remove(order)
            return
        is_idle = order.payment_status in UNPAID and order.hold_reason is None
        if order.status not in {"pending", "expired"} or not is_idle:
            raise Conflict(
                "order_not_deletable", "Only an order that is neither paid nor held can be deleted."
            )
        await self.desk.put_back(order, *await self.end(order, OrderCancel()))

    async def end(self, order: Order, body: OrderCancel) -> list[OrderEventKind]:
        """Make a locked order a cancelled one; stock, code and money go back."""
        if "cancelled" not in STATUS_MOVES.get(order.status, ()):
            raise invalid_transition(order, "cancelled")
        if not is_cancellable(order):
            raise _stopped(order)
        events: list[OrderEventKind] = [OrderCancelled]
        if order.status == "pending":
            await self.stock.release(order.id)
            await self.discounts.release(order.id)
            await expire_checkout(self.session, order)
        elif order.status in {"confirmed", "processing"}:
            events += await self._undo(order, body)
        order.status = "cancelled"
        order.cancelled_at = await self.session.now()
        order.cancel_reason = body.reason
        order.reservation_expires_at = None
        return events

    async def _undo(self, order: Order, body: OrderCancel) -> list[OrderEventKind]:
        """Give back what a confirmed order took: pieces, code and money, in the order of their locks."""
        if order.status == "processing":
            self._refuse_production(body.reason)
        await expire_checkout(self.session, order)
        if order.payment_status == "authorized":
            await self._let_go(order)
        items = await self.desk.orders.items(order.id)
        back = await self._money_back(order, items, body)
        refund_id = uuid7()
        changes = _changes(items, body.restock if has_taken_stock(order) else False, back)
        await self.refunds.restock(order, items, changes, refund_id if back else None)
        await self.discounts.release(order.id)
        await self.refunds.count(changes)
        if back is None:
            return []
        restock = any(change.restocked for change in changes)
        terms = RefundTerms("cancelled", body.reason, body.reference, restock=restock)
        return [told_of(await self.refunds.give_back(order, back.payment, back.plan, terms, refund_id))]

    async def _let_go(self, order: Order) -> None:
        """Cancel an authorised payment at the provider's, of which nothing was taken yet."""
        for payment in await self.refunds.payments.of_order(order.id):
            if payment.status == "authorized":
                await release_authorisation(self.session, payment)

    async def _money_back(self, order: Order, items: list[OrderItem], body: OrderCancel) -> MoneyBack | None:
        """What goes back of the money; None when nothing does.

        A full refund is one of every line and of the shipping, as far as they have not been refunded.
        """
        has_money = order.amount_paid > order.amount_refunded + order.amount_refund_pending
        if body.refund == "none" or (body.refund == "full" and not has_money):
            return None
        if not self.principal.may(Permission.orders_refund):
            raise permission_denied(Permission.orders_refund)
        payment = await self.refunds.payment_of(order)
        basis = await self.refunds.basis(order)
        if body.amount is not None:
            return MoneyBack(payment, basis.by_amount(body.amount))
        lines = [(item, item.quantity - item.refunded_quantity) for item in items]
        lines = [(item, units) for item, units in lines if units]
        plan = basis.by_parts(lines, basis.shipping_left, amount=left_of(payment))
        return MoneyBack(payment, plan)

    def _refuse_production(self, reason: str | None) -> None:
        """What is in the making is cancelled by those who answer for it, and they say why."""
        if not self.principal.may(Permission.orders_cancel_in_production):
            raise permission_denied(Permission.orders_cancel_in_production)
        if not reason:
            raise fault("/reason", "reason_required", "Say why an order in the making is cancelled.")


def _stopped(order: Order) -> Conflict:
    """409: why an order that could be cancelled in its state cannot be now."""
    if order.payment_status in UNDER_WAY:
        return Conflict("payment_in_progress", "A payment of this order is under way; wait for its end.")
    if order.status == "pending":
        refuse_hold(order)
    return Conflict("refund_required", "The order was paid; refund it before it is cancelled.")


def _changes(items: list[OrderItem], restock: bool | None, back: MoneyBack | None) -> list[LineChange]:
    """What a cancelled order counts on each of its lines; lines to which nothing happens are left out."""
    refunded = {line.item_id: line for line in back.plan.lines} if back else {}
    changes = []
    for item in items:
        line = refunded.get(item.id)
        is_wanted = not item.is_personalised if restock is None else restock
        change = LineChange(
            item.id,
            refunded=line.units if line else 0,
            amount=line.amount if line else 0,
            restocked=_never_left(item) if is_wanted else 0,
        )
        if change != LineChange(item.id):
            changes.append(change)
    return changes


def _never_left(item: OrderItem) -> int:
    """The units of a line that were not shipped and are not back on the shelf already."""
    away = item.fulfilled_quantity - item.returned_quantity
    return max(
        min(item.quantity - item.fulfilled_quantity, item.quantity - item.restocked_quantity - away), 0
    )
