"""Owns the mirror of the platform's credit notes: what an invoice asked too much, and what went back."""

from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient
from app.core.database import SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.billing import Invoice
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.services.billing import ledger
from app.services.billing.events import InvoiceCreated, InvoiceEvent, invoice_event
from app.services.billing.subscriptions.events import InvoiceVoided
from app.services.billing.subscriptions.fetching import id_of, moment
from app.services.billing.subscriptions.invoices import apply_invoice, intent_of, lines_of
from app.services.billing.subscriptions.money_back import INVOICE, Paid, record_refunds
from app.services.stripe_webhooks.effects import EventUnresolved, StripeEventRow
from app.services.stripe_webhooks.fetching import PAYMENTS

REFUNDS = "_refunds"

STATES = {"issued": "paid", "void": "void"}
"""Stripe's words, and ours: an issued note owes nobody anything."""


async def context_of_note(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    """The invoice that it is about, with its payments, and the refunds that it names."""
    expand = {"expand": [PAYMENTS]}
    invoice = await client.call("invoices.retrieve", str(id_of(fetched["invoice"])), params=expand)
    named = [id_of(item["refund"]) for item in fetched.get("refunds") or []]
    refunds = [await client.call("refunds.retrieve", str(refund)) for refund in named]
    return {INVOICE: invoice, REFUNDS: refunds}


async def apply_credit_note(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """Let the mirror be what was fetched (with `context_of_note`), after that of its invoice.

    Money that went back is in the ledger once, by its refund; what was paid back elsewhere, by the note. An
    amount that stays as a balance at Stripe moves none: later invoices are paid the less. Takes no lock but
    those of the rows: the caller holds the billing lock.
    """
    owner = event.owner
    await apply_invoice(session, owner, fetched[INVOICE], event.fetched_at)
    mirrors = InvoiceMirrorRepository(session)
    credited = await mirrors.by_stripe_id(owner, fetched[INVOICE]["id"])
    if credited is None:
        raise EventUnresolved("a credit note is about an invoice that is not here")
    row = await mirrors.by_stripe_id(owner, fetched["id"], lock=True)
    if row is not None and event.is_superseded(row.synced_at):
        return "superseded"
    before = None if row is None else row.status
    values = {**_values(fetched, credited), "synced_at": event.fetched_at}
    if row is None:
        row = await mirrors.add(
            Invoice(
                organization_id=owner,
                id=uuid7(),
                kind="credit_note",
                stripe_invoice_id=fetched["id"],
                created_at=moment(fetched["created"]),
                **values,
            )
        )
        await mirrors.replace_lines(row, lines_of(fetched))
    else:
        await mirrors.change(row, values)
    paid = Paid(owner, credited.id, intent_of(fetched[INVOICE]))
    await record_refunds(session, paid, fetched[REFUNDS])
    await _record_elsewhere(session, owner, fetched, credited.id)
    await _tell(session, row, before)
    return None


def _values(fetched: dict[str, Any], credited: Invoice) -> dict[str, Any]:
    tax = max(0, sum(part["amount"] for part in fetched.get("total_taxes") or []))
    total = max(0, fetched["total"])
    issued_at = moment(fetched.get("effective_at") or fetched["created"])
    return {
        "status": STATES[fetched["status"]],
        "invoice_number": fetched["number"],
        "credited_invoice_id": credited.id,
        "currency": fetched["currency"].upper(),
        "subtotal": max(0, total - tax),
        "tax": tax,
        "amount": total,
        "amount_paid": total,
        "amount_remaining": 0,
        "plan_name": credited.plan_name,
        "billing_period": credited.billing_period,
        "period_start": credited.period_start,
        "period_end": credited.period_end,
        "finalized_at": issued_at,
        "paid_at": issued_at,
        "parties": {
            **credited.parties,
            "credited_number": credited.invoice_number,
            "reason": fetched.get("reason"),
        },
    }


async def _record_elsewhere(
    session: SystemSession, owner: UUID, fetched: dict[str, Any], invoice_id: UUID
) -> None:
    amount = fetched.get("out_of_band_amount")
    if not amount:
        return
    await ledger.record(
        session,
        owner,
        source="subscription",
        account="platform",
        entry_type="refund",
        amount=-amount,
        currency=fetched["currency"].upper(),
        source_ref=fetched["id"],
        recorded_at=moment(fetched["created"]) or await session.now(),
        invoice_id=invoice_id,
    )


async def _tell(session: SystemSession, row: Invoice, before: str | None) -> None:
    told: list[InvoiceEvent] = []
    if before is None:
        told.append(invoice_event(InvoiceCreated, row))
    if row.status == "void" and before != "void":
        told.append(invoice_event(InvoiceVoided, row))
    for event in told:
        await emit(session, event, organization_id=row.organization_id)
