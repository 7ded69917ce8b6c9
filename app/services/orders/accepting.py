"""Taking a payment of another amount for the whole, where staff has agreed to that."""

from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, NotFound
from app.models.orders import Order, OrderPayment
from app.repositories.orders.refunds import PaymentRepository
from app.schemas.orders import OrderDetail, PaymentAccept
from app.services.billing.order_invoices import invoice_order
from app.services.billing.order_money import record_charge
from app.services.orders.checkout_state import expire_checkout
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.intents import IN_FORCE
from app.services.orders.lines import product_ids
from app.services.orders.payment import PAYABLE_LATE, OrderPaymentService
from app.services.orders.states import UNPAID, invalid_transition
from app.services.products.stock import StockService, insufficient_stock


class AcceptingService:
    """Applies payments that lie beside their order because their amount is another one."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.desk = OrderDesk(session, principal)
        self.payments = PaymentRepository(session)
        self.stock = StockService(session, principal)
        self.settling = OrderPaymentService(session, principal)

    async def accept(
        self, reference: str, payment_id: UUID, body: PaymentAccept, etags: Etags
    ) -> OrderDetail:
        """Make a payment of another amount the order's; the order is confirmed and paid with it.

        404 also `payment_not_found`; 409 `payment_not_acceptable`, `invalid_transition`,
        `insufficient_stock`; 412.
        """
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=body.reason)
        payments = await self.payments.of_order(order.id)
        payment = next((found for found in payments if found.id == payment_id), None)
        if payment is None:
            raise NotFound("payment_not_found", "The order has no such payment.")
        if _why_not(payment) or any(found.status in IN_FORCE for found in payments):
            raise Conflict("payment_not_acceptable", "Only a payment of another amount can be accepted.")
        is_open = order.status in {"pending", "expired", *PAYABLE_LATE}
        if not is_open or order.payment_status not in UNPAID:
            raise invalid_transition(order, "confirmed")
        await self._take_stock(order)
        await expire_checkout(self.session, order)
        payment.status, payment.unapplied_reason = "applied", None
        if order.hold_reason == "amount_mismatch":
            order.hold_reason = None
        events = await self.settling.settle(order)
        order.amount_paid = payment.amount
        await self.session.flush()
        await record_charge(self.session, order, payment, await invoice_order(self.session, order))
        return await self.desk.put_back(order, *events)

    async def _take_stock(self, order: Order) -> None:
        """An expired order takes its stock again, or stays expired: 409 `insufficient_stock`."""
        if order.status != "expired":
            return
        short = await self.stock.retake(order.id, product_ids(await self.desk.orders.items(order.id)))
        if short:
            raise insufficient_stock(short, "The order has expired and its stock was sold; refund it.")
        order.status = "confirmed"


def _why_not(payment: OrderPayment) -> bool:
    """Whether a payment is none of another amount, or some of it has gone back."""
    is_other = payment.status == "unapplied" and payment.unapplied_reason == "amount_mismatch"
    return not is_other or bool(payment.amount_refunded or payment.amount_refund_pending)
