"""Owns the ledger's side of what is paid back for subscriptions: refunds, and disputes of their payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient
from app.core import clock
from app.core.database import SystemSession
from app.repositories.billing.ledger import LedgerRepository
from app.services.billing import ledger
from app.services.billing.subscriptions.fetching import id_of, moment
from app.services.stripe_webhooks.fetching import PAYMENTS

INVOICE = "_invoice"
"""The member under which the invoice that a payment paid is added to what Stripe answered."""

MOVED = frozenset({"needs_response", "under_review", "won", "lost"})
"""Statuses of disputes in which the bank has taken the money; a mere inquiry moves none."""


@dataclass(frozen=True, slots=True)
class Paid:
    """What money is given back of: an invoice of a subscription, by the ids of its mirror and its payment."""

    organization_id: UUID
    invoice_id: UUID | None
    intent: str | None


async def invoice_paid_by(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    """The invoice that a PaymentIntent, or that of a dispute, has paid; nothing for one of an order."""
    is_intent = fetched.get("object") == "payment_intent"
    intent = fetched["id"] if is_intent else id_of(fetched.get("payment_intent"))
    if intent is None or (fetched.get("metadata") or {}).get("order_id"):
        return {}
    payment = {"type": "payment_intent", "payment_intent": intent}
    async for found in client.pages("invoice_payments.list", params={"payment": payment}):
        expand = {"expand": [PAYMENTS]}
        return {INVOICE: await client.call("invoices.retrieve", str(id_of(found["invoice"])), params=expand)}
    return {}


async def record_refunds(session: SystemSession, paid: Paid, refunds: Sequence[dict[str, Any]]) -> None:
    """Write each refund that succeeded down once, and take back one that failed after all."""
    for refund in refunds:
        if refund["status"] == "succeeded":
            await _record(session, paid, refund, "refund", -refund["amount"])
        elif refund["status"] in {"failed", "canceled"} and await _stands(session, paid, refund["id"]):
            await _record(session, paid, refund, "refund_reversal", refund["amount"])


async def record_dispute(session: SystemSession, paid: Paid, dispute: dict[str, Any]) -> str | None:
    """Write down what a bank has taken, and what it gave back; a word where it has taken nothing."""
    if dispute["status"] not in MOVED:
        return "inquiry"
    await _record(session, paid, dispute, "dispute", -dispute["amount"])
    if dispute["status"] == "won":
        await _record(session, paid, dispute, "dispute_reversal", dispute["amount"])
    return None


async def _stands(session: SystemSession, paid: Paid, refund_id: str) -> bool:
    return await LedgerRepository(session, paid.organization_id).stands("refund", refund_id)


async def _record(
    session: SystemSession, paid: Paid, item: dict[str, Any], entry_type: ledger.EntryType, amount: int
) -> bool:
    is_reversal = entry_type.endswith("reversal")
    return await ledger.record(
        session,
        paid.organization_id,
        source="subscription",
        account="platform",
        entry_type=entry_type,
        amount=amount,
        currency=item["currency"].upper(),
        source_ref=item["id"],
        # Stripe says when a refund or a dispute began; when it was taken back, only this news says.
        recorded_at=clock.now() if is_reversal else moment(item["created"]) or clock.now(),
        invoice_id=paid.invoice_id,
        stripe_payment_intent_id=paid.intent,
    )
