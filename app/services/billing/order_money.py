"""Owns how payments and refunds of orders stand in the revenue ledger."""

from datetime import datetime

from app.core.database import ScopedSession
from app.models.billing import Invoice
from app.models.orders import Order, OrderPayment, Refund
from app.services.billing.ledger import record


async def record_charge(
    session: ScopedSession, order: Order, payment: OrderPayment, invoice: Invoice | None
) -> bool:
    """Write down that the money of a payment has arrived, in the payment's own currency.

    The movement is the intent's where a provider took it, else the row's.
    """
    if not payment.amount:
        return False
    return await record(
        session,
        order.organization_id,
        source="order",
        account="merchant",
        entry_type="charge",
        amount=payment.amount,
        currency=payment.currency,
        source_ref=payment.stripe_payment_intent_id or str(payment.id),
        recorded_at=payment.received_at or await session.now(),
        user_id=order.user_id,
        order_id=order.id,
        invoice_id=None if invoice is None else invoice.id,
        stripe_payment_intent_id=payment.stripe_payment_intent_id,
        description=order.order_number,
    )


async def record_refund(
    session: ScopedSession, refund: Refund, note: Invoice | None, recorded_at: datetime
) -> bool:
    """Write down that the money of a refund has gone back; False when there was none."""
    if not refund.amount:
        return False
    return await record(
        session,
        refund.organization_id,
        source="order",
        account="merchant",
        entry_type="refund",
        amount=-refund.amount,
        currency=refund.currency,
        source_ref=refund.stripe_refund_id or str(refund.id),
        recorded_at=recorded_at,
        order_id=refund.order_id,
        invoice_id=None if note is None else note.id,
    )
