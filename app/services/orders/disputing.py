"""Disputes: a buyer's bank takes the money of an order back, and gives it back when the seller wins."""

from typing import Any

from app.core.database import ScopedSession
from app.models.orders import Order, OrderPayment
from app.repositories.billing.ledger import LedgerRepository
from app.services.billing.ledger import EntryType, record
from app.services.orders.events import OrderDisputed, OrderEventKind, OrderUpdated
from app.services.orders.provider_refunds import status_by_sums
from app.services.orders.states import DISPUTED

OPEN = frozenset({"needs_response", "under_review"})
INQUIRY = "warning_"
"""So begin the statuses of a mere question of the bank's, which moves no money."""

DISPUTABLE = frozenset({"paid", "partially_refunded", "refunded"})


def is_inquiry(dispute: dict[str, Any]) -> bool:
    """Whether the bank merely asks."""
    return str(dispute["status"]).startswith(INQUIRY)


async def apply_dispute(
    session: ScopedSession, order: Order, payment: OrderPayment, dispute: dict[str, Any]
) -> list[OrderEventKind] | None:
    """Bring a locked order to what a dispute of its payment says; None when that changes nothing.

    One that was won stays won, whatever is said that was asked before; one that was lost may be won later.
    """
    status = str(dispute["status"])
    if is_inquiry(dispute) or (status not in OPEN and status not in {"won", "lost"}):
        return None
    await _record(session, order, payment, dispute, "dispute", -int(dispute["amount"]))
    if status == "won":
        await _record(session, order, payment, dispute, "dispute_reversal", int(dispute["amount"]))
    elif await LedgerRepository(session, order.organization_id).stands(
        "dispute_reversal", str(dispute["id"])
    ):
        return None
    if payment.status != "applied":
        return None
    if status == "won":
        return _end(order)
    return _lose(order) if status == "lost" else _begin(order)


def _begin(order: Order) -> list[OrderEventKind] | None:
    """The bank holds the money: nothing may leave until it has decided.

    Whatever else holds the order goes on doing so, even after the dispute.
    """
    if order.payment_status not in DISPUTABLE:
        return None
    order.payment_status = "disputed"
    order.hold_reason = order.hold_reason or "dispute"
    return [OrderDisputed]


def _lose(order: Order) -> list[OrderEventKind] | None:
    """The buyer has the money back for good."""
    if order.payment_status not in DISPUTABLE | {"disputed"}:
        return None
    order.payment_status = "charged_back"
    order.hold_reason = order.hold_reason or "dispute"
    return [OrderDisputed]


def _end(order: Order) -> list[OrderEventKind] | None:
    """The seller has won: the money is where the sums say, and the hold ends."""
    if order.payment_status not in DISPUTED:
        return None
    order.payment_status = status_by_sums(order)
    if order.hold_reason == "dispute":
        order.hold_reason = None
    return [OrderUpdated]


async def _record(
    session: ScopedSession,
    order: Order,
    payment: OrderPayment,
    dispute: dict[str, Any],
    entry_type: EntryType,
    amount: int,
) -> None:
    """Write down money that a dispute moved, once."""
    await record(
        session,
        order.organization_id,
        source="order",
        account="merchant",
        entry_type=entry_type,
        amount=amount,
        currency=str(dispute["currency"]).upper(),
        source_ref=str(dispute["id"]),
        recorded_at=await session.now(),
        order_id=order.id,
        stripe_payment_intent_id=payment.stripe_payment_intent_id,
    )
