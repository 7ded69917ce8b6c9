"""Owns the mirror of the platform's invoices, and what is told when one is paid or is not."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.billing import Invoice
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.repositories.billing.plans import PlanRepository, PriceRepository
from app.services.billing import ledger
from app.services.billing.events import InvoiceCreated, InvoiceEvent, InvoicePaid, invoice_event
from app.services.billing.subscriptions.events import InvoicePaymentFailed, InvoiceRecovered, InvoiceVoided
from app.services.billing.subscriptions.fetching import id_of, moment

MAX_LINES = 100
MAX_TEXT = 500


async def apply_invoice(
    session: SystemSession, organization_id: UUID, fetched: dict[str, Any], fetched_at: datetime
) -> str | None:
    """Let the mirror be what was fetched (with `PAYMENTS` expanded); a paid one is in the ledger once.

    `superseded` where the mirror is newer.
    """
    invoices = InvoiceMirrorRepository(session)
    row = await invoices.by_stripe_id(organization_id, fetched["id"], lock=True)
    if row is not None and row.synced_at is not None and row.synced_at >= fetched_at:
        return "superseded"
    values = {**await _values(session, fetched), "synced_at": fetched_at}
    before = None if row is None else (row.status, row.attempt_count)
    if row is None:
        row = await invoices.add(
            Invoice(
                organization_id=organization_id,
                id=uuid7(),
                kind="subscription",
                stripe_invoice_id=fetched["id"],
                created_at=moment(fetched["created"]),
                **values,
            )
        )
    else:
        await invoices.change(row, values)
    if before is None or before[0] == "draft":
        await invoices.replace_lines(row, lines_of(fetched))
    if row.status == "paid" and row.amount_paid:
        await ledger.record(
            session,
            organization_id,
            source="subscription",
            account="platform",
            entry_type="charge",
            amount=row.amount_paid,
            currency=row.currency,
            source_ref=fetched["id"],
            recorded_at=row.paid_at or fetched_at,
            invoice_id=row.id,
            stripe_payment_intent_id=intent_of(fetched),
        )
    await _tell(session, row, before, fetched)
    return None


async def remove_draft(session: SystemSession, organization_id: UUID, stripe_invoice_id: str) -> None:
    """Remove the mirror of a draft that is gone at Stripe."""
    invoices = InvoiceMirrorRepository(session)
    row = await invoices.by_stripe_id(organization_id, stripe_invoice_id, lock=True)
    if row is not None and row.status == "draft":
        await invoices.remove(row)


def intent_of(fetched: dict[str, Any]) -> str | None:
    """The PaymentIntent that pays an invoice, of its expanded `payments`."""
    for payment in (fetched.get("payments") or {}).get("data", []):
        found = id_of((payment.get("payment") or {}).get("payment_intent"))
        if found is not None:
            return found
    return None


def _reason(fetched: dict[str, Any]) -> str | None:
    """The code for why it could not be finalised, or why its last payment failed; None once it is paid."""
    failures = [fetched.get("last_finalization_error") or {}]
    for payment in (fetched.get("payments") or {}).get("data", []):
        intent = (payment.get("payment") or {}).get("payment_intent")
        failures.append((intent.get("last_payment_error") or {}) if isinstance(intent, dict) else {})
    codes = [failure.get("decline_code") or failure.get("code") for failure in failures]
    return next((code for code in codes if code), None)


async def _values(session: SystemSession, fetched: dict[str, Any]) -> dict[str, Any]:
    times = fetched.get("status_transitions") or {}
    # The line that is no proration says what the invoice is for; its period is what is paid.
    lines = fetched["lines"]["data"]
    main = next((line for line in lines if not _is_proration(line)), lines[0] if lines else {})
    period = main.get("period") or {}
    price_id = id_of(((main.get("pricing") or {}).get("price_details") or {}).get("price"))
    price = None if price_id is None else await PriceRepository(session).by_stripe_id(price_id)
    plan = None if price is None else await PlanRepository(session).by_code(price.plan_code)
    tax = sum(part["amount"] for part in fetched.get("total_taxes") or [])
    total = max(0, fetched["total"])
    return {
        "status": fetched["status"],
        "invoice_number": fetched.get("number"),
        "currency": fetched["currency"].upper(),
        "subtotal": max(0, total - tax),
        "tax": max(0, tax),
        "amount": total,
        "amount_paid": fetched["amount_paid"],
        "amount_remaining": fetched["amount_remaining"],
        "plan_name": plan.name if plan else None,
        "billing_period": price.billing_interval if price else None,
        "period_start": moment(period.get("start")),
        "period_end": moment(period.get("end")),
        "attempt_count": fetched["attempt_count"],
        "last_payment_error": _reason(fetched),
        "due_at": moment(fetched.get("due_date")),
        "finalized_at": moment(times.get("finalized_at")),
        "paid_at": moment(times.get("paid_at")),
        "parties": _parties(fetched),
        "hosted_invoice_url": fetched.get("hosted_invoice_url"),
    }


def _parties(fetched: dict[str, Any]) -> dict[str, Any]:
    """Who is billed by whom, as Stripe's document prints it."""
    buyer = {
        name: fetched.get(f"customer_{name}")
        for name in ("name", "email", "address")
        if fetched.get(f"customer_{name}")
    }
    return {"seller": {"name": fetched.get("account_name")}, "buyer": buyer}


def _is_proration(line: dict[str, Any]) -> bool:
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return bool(details.get("proration"))


def lines_of(fetched: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines; amounts are signed, since an upgrade gives back what is left of the old plan."""
    return [
        {
            "position": position,
            "description": (line.get("description") or "")[:MAX_TEXT],
            "quantity": line.get("quantity") or 1,
            "unit_amount": line["amount"] // (line.get("quantity") or 1),
            "discount_amount": sum(part["amount"] for part in line.get("discount_amounts") or []),
            "tax_amount": sum(part["amount"] for part in line.get("taxes") or []),
            "total_amount": line["amount"],
        }
        for position, line in enumerate(fetched["lines"]["data"][:MAX_LINES])
    ]


async def _tell(
    session: SystemSession, row: Invoice, before: tuple[str, int] | None, fetched: dict[str, Any]
) -> None:
    """Emit each step of the document once, by what is different from before."""
    status, attempts = before or ("draft", 0)
    told: list[InvoiceEvent] = []
    if status == "draft" and row.status != "draft":
        told.append(invoice_event(InvoiceCreated, row))
    if row.status == "paid" and status != "paid":
        told.append(invoice_event(InvoicePaid, row))
        if status == "open" and attempts:
            told.append(invoice_event(InvoiceRecovered, row))
    if row.status == "void" and status != "void":
        told.append(invoice_event(InvoiceVoided, row))
    if row.status == "open" and row.attempt_count > attempts:
        is_last = fetched.get("next_payment_attempt") is None
        facts = asdict(invoice_event(InvoiceCreated, row))
        # Late news of several attempts is one event, which says how many it is about.
        facts |= {"attempt": row.attempt_count, "attempts_told_before": attempts}
        told.append(InvoicePaymentFailed(**facts, is_last_attempt=is_last))
    for event in told:
        await emit(session, event, organization_id=row.organization_id)
