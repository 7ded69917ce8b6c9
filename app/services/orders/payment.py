"""An order is paid: by hand, or because it costs nothing."""

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict
from app.core.ids import uuid7
from app.models.orders import Order, OrderPayment
from app.schemas.orders import ManualPayment, OrderDetail
from app.services.billing.order_invoices import invoice_order
from app.services.billing.order_money import record_charge
from app.services.orders.checkout_state import expire_checkout
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.events import OrderCompleted, OrderEvent, OrderOversold, OrderPaid
from app.services.orders.faults import fault
from app.services.orders.lines import product_ids
from app.services.orders.settings import OrderSettingsService
from app.services.orders.states import UNPAID, invalid_transition
from app.services.products.stock import StockService, insufficient_stock

PAYABLE_LATE = frozenset({"confirmed", "processing", "shipped", "delivered"})
"""Orders that went on without their money, for instance because an authorisation lapsed."""


class OrderPaymentService:
    """Applies payments that did not come through the payment provider."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.settings = OrderSettingsService(session, principal)

    async def mark_paid(self, reference: str, body: ManualPayment, etags: Etags) -> OrderDetail:
        """Write down that the whole total arrived by hand, in time or after the order has expired.

        409 `invalid_transition`, `payment_in_progress`, and `insufficient_stock` for an expired order whose
        stock is gone; 422 `amount_mismatch`.
        """
        reason = f"paid by {body.method.replace('_', ' ')}"
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=reason)
        if order.status not in {"pending", "expired"} and order.status not in PAYABLE_LATE:
            raise invalid_transition(order, "confirmed")
        if order.payment_status in {"pending", "authorized"}:
            raise Conflict("payment_in_progress", "A payment of this order is under way; wait for its end.")
        if order.payment_status not in UNPAID:
            raise invalid_transition(order, "confirmed")
        if body.amount != order.total_amount:
            raise fault("/amount", "amount_mismatch", "The amount must be the order's total.")
        await expire_checkout(self.session, order)
        events = await self._revive(order) if order.status == "expired" else []
        now = await self.session.now()
        payment = OrderPayment(
            organization_id=order.organization_id,
            id=uuid7(),
            order_id=order.id,
            method=body.method,
            reference=body.reference,
            amount=body.amount,
            currency=order.currency,
            status="applied",
            received_at=now,
        )
        self.session.add(payment)
        events += await self.settle(order)
        invoice = await invoice_order(self.session, order)
        await record_charge(self.session, order, payment, invoice)
        return await self.desk.put_back(order, *events)

    async def _revive(self, order: Order) -> list[type[OrderEvent]]:
        """Take the stock of an expired order again, and make it a confirmed one.

        Where it is gone, the settings decide: with `backorder` the order is held until there is stock, with
        `refund` no money may be taken: 409 `insufficient_stock`. A code stays given back.
        """
        items = await self.desk.orders.items(order.id)
        short = await self.stock.retake(order.id, product_ids(items))
        if short and (await self.settings.get()).oversold_policy == "refund":
            raise insufficient_stock(
                short, "The order has expired and its stock was sold; give the money back, or order again."
            )
        order.status = "confirmed"
        if not short:
            return []
        order.hold_reason = "oversold"
        return [OrderOversold]

    async def settle(self, order: Order) -> list[type[OrderEvent]]:
        """Make a locked order a paid one, its stock taken; answers what is to be told of it.

        The caller issues its invoice after that, as the last thing that locks.
        """
        now = await self.session.now()
        if order.status == "pending":
            await self.stock.commit(order.id)
            order.status = "confirmed"
        if order.hold_reason == "payment_lapsed":
            order.hold_reason = None
        order.payment_status = "paid"
        order.amount_paid = order.total_amount
        order.payment_failure_code = None
        order.paid_at = now
        order.reservation_expires_at = None
        if order.delivered_at is None:
            return [OrderPaid]
        order.completed_at = now
        return [OrderPaid, OrderCompleted]
