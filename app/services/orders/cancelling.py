"""Cancelling orders that hold no money, and deleting drafts."""

from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Forbidden, Invalid
from app.core.permissions import Permission
from app.models.orders import Order
from app.schemas.orders import OrderDetail, OrderReason
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.discounts import DiscountService
from app.services.orders.events import OrderCancelled, OrderEvent
from app.services.orders.states import STATUS_MOVES, UNPAID, invalid_transition, owes_money, refuse_hold
from app.services.products.stock import StockService


class CancellingService:
    """Ends orders before they are paid, and gives back what they hold."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.discounts = DiscountService(session, principal)

    async def cancel(self, reference: str, body: OrderReason, etags: Etags) -> OrderDetail:
        """Cancel an order that holds no money; a cancelled one stays as it is.

        409 `invalid_transition`, `payment_in_progress`, `order_on_hold`, and `refund_required` for an order
        whose money must be given back first.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        if order.status == "cancelled":
            return await self.desk.unchanged(order)
        return await self.desk.put_back(order, *await self.end(order, body.reason))

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
        await self.desk.put_back(order, *await self.end(order, None))

    async def end(self, order: Order, reason: str | None) -> list[type[OrderEvent]]:
        """Make a locked order a cancelled one; stock and code go back."""
        if "cancelled" not in STATUS_MOVES.get(order.status, ()):
            raise invalid_transition(order, "cancelled")
        if order.status == "pending":
            await self._let_go(order)
        elif order.status != "draft":
            self._refuse_money(order)
            if order.status in {"confirmed", "processing"}:
                await self._undo(order, reason)
        order.status = "cancelled"
        order.cancelled_at = await self.session.now()
        order.cancel_reason = reason
        order.reservation_expires_at = None
        return [OrderCancelled]

    async def _let_go(self, order: Order) -> None:
        """Give back what a pending order holds."""
        if order.payment_status not in UNPAID:
            raise Conflict("payment_in_progress", "A payment of this order is under way; wait for its end.")
        refuse_hold(order)
        await self.stock.release(order.id)
        await self.discounts.release(order.id)

    def _refuse_money(self, order: Order) -> None:
        if owes_money(order):
            raise Conflict(
                "refund_required", "The order is paid; its money must be refunded before it can be cancelled."
            )

    async def _undo(self, order: Order, reason: str | None) -> None:
        """Put what a free order took back on the shelf, but for what was made for its buyer."""
        if order.status == "processing":
            if not self.principal.may(Permission.orders_cancel_in_production):
                needed = Permission.orders_cancel_in_production
                raise Forbidden(
                    "permission_denied", f"Your role lacks the permission `{needed}`.", permission=needed
                )
            if not reason:
                detail = "Say why an order in the making is cancelled."
                fault = FieldError("/reason", "reason_required", detail)
                raise Invalid("reason_required", detail, errors=[fault])
        quantities: dict[UUID, int] = {}
        for item in await self.desk.orders.items(order.id):
            if item.is_personalised or item.product_id is None:
                continue
            item.restocked_quantity = item.quantity
            quantities[item.product_id] = quantities.get(item.product_id, 0) + item.quantity
        if quantities:
            await self.stock.restock(order.id, quantities)
        await self.discounts.release(order.id)
