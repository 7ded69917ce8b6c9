"""Disputes: a buyer's bank takes the money of an order back, and gives it back when the seller wins."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from app.core.database import ScopedSession
from app.models.orders import Order, OrderPayment
from app.services.billing.ledger import EntryType, record, stands
from app.services.orders.events import (
    DisputeFacts,
    DisputeState,
    OrderCompleted,
    OrderDisputed,
    OrderEventKind,
)
from app.services.orders.provider_refunds import status_by_sums
from app.services.orders.states import DISPUTED, PAYMENT_STATUS_MOVES, SHIPPABLE

OPEN = frozenset({"needs_response", "under_review"})
INQUIRY = "warning_"
"""So begin the statuses of a mere question of the bank's, which moves no money."""

STATES: Mapping[str, DisputeState] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "warning_closed": "inquiry_closed",
    "won": "won",
    "lost": "lost",
}
"""How a dispute stands by its status at Stripe; in any other the bank holds the money."""

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
    elif await stands(session, order.organization_id, "dispute_reversal", str(dispute["id"])):
        return None
    if payment.status != "applied":
        return None
    has_changed = {"won": _end, "lost": _lose}.get(status, _begin)(order)
    if not has_changed:
        return None
    events = [dispute_event(dispute)]
    if order.delivered_at is not None and order.completed_at is None and order.payment_status in SHIPPABLE:
        # It arrived while the bank had the money.
        order.completed_at = await session.now()
        events.append(OrderCompleted)
    return events


def dispute_event(dispute: dict[str, Any]) -> OrderEventKind:
    """The event of an order that tells how this dispute stands now."""
    facts = DisputeFacts(
        state=STATES.get(str(dispute["status"]), "open"),
        amount=int(dispute["amount"]),
        currency=str(dispute["currency"]).upper(),
    )
    return partial(OrderDisputed, dispute=facts)


def _begin(order: Order) -> bool:
    """The bank holds the money: nothing may leave until it has decided.

    Whatever else holds the order goes on doing so, even after the dispute. Whether that was new.
    """
    if order.payment_status not in DISPUTABLE:
        return False
    order.payment_status = "disputed"
    order.hold_reason = order.hold_reason or "dispute"
    return True


def _lose(order: Order) -> bool:
    """The buyer has the money back for good. Whether that was new."""
    if order.payment_status not in DISPUTABLE | {"disputed"}:
        return False
    order.payment_status = "charged_back"
    order.hold_reason = order.hold_reason or "dispute"
    return True


def _end(order: Order) -> bool:
    """The seller has won: the money is where the sums say, and the hold ends. Whether that was new."""
    target = status_by_sums(order)
    if order.payment_status not in DISPUTED or target not in PAYMENT_STATUS_MOVES[order.payment_status]:
        return False
    order.payment_status = target
    if order.hold_reason == "dispute":
        order.hold_reason = None
    return True


async def _record(
    session: ScopedSession,
    order: Order,
    payment: OrderPayment,
    dispute: dict[str, Any],
    entry_type: EntryType,
    amount: int,
) -> None:
    """Write down money that a dispute moved, once; one of a payment that had all gone back moves none."""
    if not amount:
        return
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
