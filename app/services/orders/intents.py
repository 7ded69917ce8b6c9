"""What a PaymentIntent of Stripe is to an order, and letting go of one."""

from collections.abc import Sequence
from typing import Any

from app.core.database import ScopedSession
from app.models.orders import Order, OrderPayment
from app.services.orders.provider import CANCEL_INTENT
from app.services.stripe_webhooks.commands import queue_command

IN_FORCE = frozenset({"authorized", "applied"})
"""At most one payment of an order is in one of these states."""


def is_voucher(intent: dict[str, Any]) -> bool:
    """Whether the buyer was told how to pay elsewhere: a bank transfer, a voucher, a code to scan."""
    return "display" in str((intent.get("next_action") or {}).get("type"))


def misfit(order: Order, row: OrderPayment, payments: Sequence[OrderPayment]) -> str | None:
    """Why a new payment cannot be applied to its order; None when it can."""
    if any(payment.status in IN_FORCE for payment in payments):
        return "duplicate"
    if row.currency != order.currency:
        return "currency_mismatch"
    return None if row.amount == order.total_amount else "amount_mismatch"


async def release_authorisation(session: ScopedSession, row: OrderPayment) -> None:
    """Let Stripe let go of what it reserved; the payment is void when it has."""
    await queue_command(
        session,
        row.organization_id,
        CANCEL_INTENT,
        subject_type="order_payment",
        subject_id=row.id,
        params={"payment_intent": row.stripe_payment_intent_id},
    )
