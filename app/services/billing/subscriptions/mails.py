"""Owns the mails to those who pay: that a payment failed, waits, came after all, or is due soon."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.config import get_settings
from app.core.database import SystemSession
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.repositories.billing.plans import PlanRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.notifications.words import Category
from app.services.auth.recipients import mail_to, moment, recipients_of
from app.services.billing.pdf.words import money
from app.services.billing.subscriptions.events import (
    InvoicePaymentActionRequired,
    InvoicePaymentFailed,
    InvoiceRecovered,
    InvoiceUpcoming,
    PaymentMethodSetupFailed,
    SubscriptionTrialEnding,
)
from app.services.notifications.requests import MailRequest, mails_for
from app.services.stripe_webhooks.binding import owners_of

TOLD_ATTEMPTS = frozenset({1, 3})
"""The failed attempts that are told of, beside the last."""

TEMPLATES = {
    InvoicePaymentFailed.type: "invoice_payment_failed",
    InvoicePaymentActionRequired.type: "payment_action_required",
    InvoiceRecovered.type: "payment_success",
}


FAILURES = frozenset({"invoice_payment_failed", "payment_action_required", "billing_setup_failed"})
"""What nobody can switch off: the plan would be lost."""


@mails_for(InvoicePaymentFailed, InvoicePaymentActionRequired, InvoiceRecovered)
async def invoice_mails(
    session: SystemSession,
    event_type: str,
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """To the owner and the admins, with the page to pay on; nothing more once the invoice is settled."""
    row = await InvoiceMirrorRepository(session).get(UUID(data["invoice_id"]))
    if row is None or (row.status != "open" and event_type != InvoiceRecovered.type):
        return []
    if event_type == InvoicePaymentFailed.type and not data["is_last_attempt"]:
        attempts = range(data["attempts_told_before"] + 1, data["attempt"] + 1)
        if TOLD_ATTEMPTS.isdisjoint(attempts):
            return []
    facts = {
        "shop": await CustomerRepository(session).organization_name(row.organization_id),
        "invoice_number": row.invoice_number or "",
        "is_last": "yes" if data.get("is_last_attempt") else "",
        "pay_url": row.hosted_invoice_url or f"{get_settings().app_url}/billing",
    }
    price = (row.amount, row.currency)
    return await _to_payers(session, row.organization_id, TEMPLATES[event_type], facts, price=price)


@mails_for(SubscriptionTrialEnding)
async def trial_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """To the owner and the admins, three days before; nothing when the trial is over."""
    row = await SubscriptionRepository(session).get(UUID(data["subscription_id"]))
    if row is None or row.status != "trialing":
        return []
    plan = await PlanRepository(session).by_code(row.plan_code)
    ends_at = row.trial_end or datetime.fromisoformat(data["current_period_end"])
    facts = {
        "shop": await CustomerRepository(session).organization_name(row.organization_id),
        "plan": plan.name if plan else row.plan_code,
        "until": moment(ends_at),
        "billing_url": _billing_url(),
    }
    return await _to_payers(session, row.organization_id, "trial_ending", facts)


@mails_for(InvoiceUpcoming)
async def upcoming_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """To the owner and the admins, some days before a renewal; nothing when it was called off since."""
    row = await SubscriptionRepository(session).get(UUID(data["subscription_id"]))
    if row is None or row.status != "active" or row.cancel_at is not None:
        return []
    plan = await PlanRepository(session).by_code(row.plan_code)
    facts = {
        "shop": await CustomerRepository(session).organization_name(row.organization_id),
        "plan": plan.name if plan else row.plan_code,
        "until": moment(datetime.fromisoformat(data["due_at"])),
        "billing_url": _billing_url(),
    }
    price = (data["amount"], data["currency"])
    return await _to_payers(session, row.organization_id, "subscription_reminder", facts, price=price)


@mails_for(PaymentMethodSetupFailed)
async def setup_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """To the owner and the admins: a bank may say days later that it allows no debits."""
    owners = await owners_of(session, [data["setup_intent_id"]])
    facts = {"billing_url": _billing_url()}
    mails: list[MailRequest] = []
    for organization_id in owners.values():
        facts["shop"] = await CustomerRepository(session).organization_name(organization_id)
        mails += await _to_payers(session, organization_id, "billing_setup_failed", facts)
    return mails


def _billing_url() -> str:
    return f"{get_settings().app_url}/billing"


async def _to_payers(
    session: SystemSession,
    organization_id: UUID,
    template: str,
    facts: dict[str, str],
    *,
    price: tuple[int, str] | None = None,
) -> list[MailRequest]:
    """A mail to each of them, in their language; `price` is an amount in minor units and its currency."""
    category: Category = "billing_failure" if template in FAILURES else "billing"
    people = await CustomerRepository(session).payers(organization_id)
    mails: list[MailRequest] = []
    for one in await recipients_of(session, people):
        amount = {} if price is None else {"amount": money(*price, one.locale)}
        mails.append(mail_to(one, template, category, {**facts, **amount}))
    return mails
