"""Refunds that the payment provider carries out: asked for, and brought to what it says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from app.core.database import ScopedSession
from app.core.ids import uuid7
from app.models.orders import Order, OrderPayment, Refund
from app.repositories.orders.orders import OrderRepository
from app.repositories.orders.refunds import PaymentRepository, RefundRepository
from app.services.billing.ledger import record
from app.services.billing.order_invoices import credit_refund
from app.services.billing.order_money import record_refund
from app.services.orders.events import OrderEventKind, OrderRefunded, OrderRefundFailed, RefundFacts
from app.services.orders.provider import REFUND
from app.services.orders.refund_plan import RefundBasis, RefundPlan
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.commands import queue_command
from app.services.stripe_webhooks.effects import EventUnresolved

logger = structlog.get_logger(__name__)

REASONS = {"duplicate": "duplicate", "fraudulent": "fraudulent"}
"""The reasons that Stripe has a word for; every other one is `requested_by_customer` there."""

LIVE = frozenset({"pending", "requires_action"})
LOST = frozenset({"failed", "canceled"})

MOVES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"succeeded", "failed", "requires_action", "canceled"}),
    "requires_action": frozenset({"succeeded", "failed", "canceled"}),
    "succeeded": frozenset({"failed"}),
    "failed": frozenset(),
    "canceled": frozenset(),
}
"""The moves of a refund; what Stripe tells besides them is old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCause:
    """Why money goes back, and who wants it so."""

    reason: str
    actor_type: str
    actor_id: str | None
    source: str = "api"
    note: str | None = None
    reference: str | None = None
    is_return: bool = False
    restock: bool = False


def refund_row(
    order: Order, payment: OrderPayment, plan: RefundPlan, cause: RefundCause, refund_id: UUID, status: str
) -> Refund:
    """The row of a planned refund."""
    return Refund(
        organization_id=order.organization_id,
        id=refund_id,
        order_id=order.id,
        payment_id=payment.id,
        amount=plan.amount,
        currency=payment.currency,
        status=status,
        lines=[
            {"item_id": str(line.item_id), "quantity": line.units, "amount": line.amount}
            for line in plan.lines
        ],
        shipping_amount=plan.shipping_amount,
        tax_groups=[asdict(group) for group in plan.tax_groups],
        **asdict(cause),
    )


async def ask_refund(session: ScopedSession, order: Order, payment: OrderPayment, refund: Refund) -> None:
    """Write a pending refund, whose amount was claimed from its payment, with the command that does it."""
    if payment.status == "applied":
        order.amount_refund_pending += refund.amount
    session.add(refund)
    await session.flush()
    await queue_command(
        session,
        order.organization_id,
        REFUND,
        subject_type="refund",
        subject_id=refund.id,
        params={
            "payment_intent": payment.stripe_payment_intent_id,
            "amount": refund.amount,
            "reason": REASONS.get(refund.reason, "requested_by_customer"),
            "metadata": {
                "organization_id": str(order.organization_id),
                "order_id": str(order.id),
                "refund_id": str(refund.id),
            },
        },
    )


async def refund_all(session: ScopedSession, order: Order, payment: OrderPayment, reason: str) -> None:
    """Give a whole payment back at once, because its order has no use for it."""
    plan = RefundPlan(payment.amount)
    if payment.status == "applied":
        shares = await RefundRepository(session, order.organization_id).shares(order.id)
        plan = RefundBasis(order, shares).by_amount(payment.amount)
    claimed = await PaymentRepository(session, order.organization_id).claim(payment.id, plan.amount)
    if claimed is None:
        raise LookupError("a payment that has just arrived cannot be refunded")
    cause = RefundCause(reason=reason, source="auto", actor_type="system", actor_id="apply_payment")
    await ask_refund(session, order, claimed, refund_row(order, claimed, plan, cause, uuid7(), "pending"))


class RefundImporter:
    """Brings the refunds of one payment of a locked order to what Stripe says of them."""

    def __init__(self, session: ScopedSession, order: Order, payment: OrderPayment) -> None:
        self.session = session
        self.order = order
        self.payment = payment
        self.orders = OrderRepository(session, order.organization_id)
        self.refunds = RefundRepository(session, order.organization_id)

    async def take(self, found: Sequence[Mapping[str, Any]]) -> list[OrderEventKind]:
        """Bring in these refunds of Stripe's, failed ones first; answers what is to be told."""
        rows = await self.refunds.of_payment(self.order.id, self.payment.id)
        events: list[OrderEventKind] = []
        for refund in sorted(found, key=lambda item: (item["status"] not in LOST, item["created"])):
            row = _ours(rows, refund)
            if row is None:
                row = await self._imported(refund)
                rows.append(row)
            if row.stripe_refund_id is None:
                await bind(self.session, refund["id"], "refund", self.order.organization_id)
                row.stripe_refund_id = refund["id"]
            events += await self.move(row, str(refund["status"]), refund.get("failure_reason"))
        return events

    async def move(self, row: Refund, status: str, failure_reason: str | None = None) -> list[OrderEventKind]:
        """Move a refund and the sums that it is part of; nothing happens for what is old."""
        if status == row.status:
            return []
        if status not in MOVES[row.status]:
            logger.info("refund_unmoved", refund_id=str(row.id), at=row.status, to=status)
            return []
        before, row.status = row.status, status
        if status == "requires_action":
            return []
        self._count(pending=-row.amount if before in LIVE else 0, refunded=_change(before, status, row))
        if status in LOST:
            row.failure_reason = failure_reason or "unknown"
            await self._give_back(row)
        await self.session.flush()
        await self._write_down(row, before)
        kind = OrderRefunded if status == "succeeded" else OrderRefundFailed
        facts = RefundFacts(refund_id=row.id, amount=row.amount, reason=row.reason, status=row.status)
        return [partial(kind, refund=facts)]

    def _count(self, *, pending: int, refunded: int) -> None:
        """Add to the sums of the payment, and of the order whose payment it is."""
        payment, order = self.payment, self.order
        payment.amount_refund_pending += pending
        payment.amount_refunded += refunded
        if payment.status != "applied":
            return
        order.amount_refund_pending += pending
        order.amount_refunded += refunded
        if refunded and order.payment_status in {"paid", "partially_refunded", "refunded"}:
            order.payment_status = status_by_sums(order)

    async def _give_back(self, row: Refund) -> None:
        """Let the lines of a refund that failed be refunded again; hold what nobody asked to refund."""
        counted = {line["item_id"]: line for line in row.lines}
        if counted:
            for item in await self.orders.items(self.order.id):
                line = counted.get(str(item.id))
                if line is not None:
                    item.refunded_quantity -= line["quantity"]
                    item.refunded_amount -= line["amount"]
        if row.source == "auto" and self.order.hold_reason is None:
            self.order.hold_reason = "refund_failed"

    async def _write_down(self, row: Refund, before: str) -> None:
        """Ledger and credit note: for money that has gone back, and for money that came back from there."""
        now = await self.session.now()
        if row.status == "succeeded":
            await record_refund(self.session, row, await credit_refund(self.session, row), now)
        elif before == "succeeded":
            await record(
                self.session,
                row.organization_id,
                source="order",
                account="merchant",
                entry_type="refund_reversal",
                amount=row.amount,
                currency=row.currency,
                source_ref=row.stripe_refund_id or str(row.id),
                recorded_at=now,
                order_id=row.order_id,
            )

    async def _imported(self, found: Mapping[str, Any]) -> Refund:
        """The row of a refund that somebody made in Stripe's dashboard, as if it had just been asked for."""
        amount = int(found["amount"])
        if self.payment.amount_refund_pending + amount > self.payment.amount:
            raise EventUnresolved("refunds of ours that Stripe has not heard of yet come to too much")
        plan = RefundPlan(amount)
        if self.payment.status == "applied":
            plan = RefundBasis(self.order, await self.refunds.shares(self.order.id)).by_amount(amount)
            self.order.amount_refund_pending += amount
        self.payment.amount_refund_pending += amount
        reason = found.get("reason")
        known = reason in {"duplicate", "fraudulent", "requested_by_customer"}
        cause = RefundCause(
            reason=str(reason) if known else "other",
            source="stripe",
            actor_type="stripe",
            actor_id=str(found["id"]),
        )
        row = refund_row(self.order, self.payment, plan, cause, uuid7(), "pending")
        self.session.add(row)
        return row


def status_by_sums(order: Order) -> str:
    """Where the money of a paid order is, by how much of it went back."""
    if not order.amount_refunded:
        return "paid"
    return "refunded" if order.amount_refunded == order.amount_paid else "partially_refunded"


def _change(before: str, status: str, row: Refund) -> int:
    """By how much a move changes what has gone back."""
    if status == "succeeded":
        return row.amount
    return -row.amount if before == "succeeded" else 0


def _ours(rows: Sequence[Refund], found: Mapping[str, Any]) -> Refund | None:
    """The row of a refund of Stripe's: by its id, or by ours, which we sent with it.

    One that was given up, and that Stripe has made all the same, gave its amounts back: what Stripe has is
    imported as another.
    """
    known = next((row for row in rows if row.stripe_refund_id == found["id"]), None)
    if known is not None:
        return known
    named = (found.get("metadata") or {}).get("refund_id")
    row = next((row for row in rows if row.stripe_refund_id is None and str(row.id) == named), None)
    is_given_up = row is not None and row.status in LOST and found["status"] not in LOST
    return None if is_given_up else row
