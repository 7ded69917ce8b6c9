"""Owns what events of Stripe do to subscriptions, payment methods and the platform's invoices."""

from dataclasses import asdict
from typing import Any

import structlog

from app.clients.stripe import StripeClient
from app.core.database import SystemSession
from app.core.events import emit
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.events import InvoiceCreated, invoice_event
from app.services.billing.subscriptions.credit_notes import apply_credit_note, context_of_note
from app.services.billing.subscriptions.customers import apply_customer, bind_customer
from app.services.billing.subscriptions.events import (
    InvoicePaymentActionRequired,
    InvoiceUpcoming,
    PaymentMethodSetupFailed,
    SubscriptionTrialEnding,
)
from app.services.billing.subscriptions.fetching import (
    SUBSCRIPTION,
    context_of,
    fetch_subscription,
    id_of,
    moment,
    with_subscription,
)
from app.services.billing.subscriptions.invoices import apply_invoice, remove_draft
from app.services.billing.subscriptions.methods import apply_method
from app.services.billing.subscriptions.mirror import apply_subscription, close_subscription
from app.services.billing.subscriptions.money_back import (
    INVOICE,
    Paid,
    invoice_paid_by,
    record_dispute,
    record_refunds,
)
from app.services.billing.subscriptions.telling import facts_of
from app.services.stripe_webhooks.asking import was_told_before
from app.services.stripe_webhooks.effects import StripeEventRow, on_stripe

logger = structlog.get_logger(__name__)

NO_INVOICE = "not_an_invoice"

METHOD = "_payment_method"
"""The member under which a payment method is added to what Stripe answered."""


@on_stripe(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    also=context_of,
)
async def on_subscription(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """The mirror is what the subscription is now."""
    if fetched.get("deleted"):
        await close_subscription(session, event.owner, fetched["id"], event.fetched_at)
        return None
    await _bind(session, fetched, event)
    return await apply_subscription(session, event.owner, fetched, event.fetched_at)


@on_stripe("customer.subscription.trial_will_end")
async def on_trial_ending(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
    """One notice."""
    row = await SubscriptionRepository(session).by_stripe_id(event.owner, fetched["id"])
    if row is not None and row.status == "trialing":
        facts = await facts_of(session, row)
        await emit(session, SubscriptionTrialEnding(**asdict(facts)), organization_id=event.owner)


async def _schedule_context(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    found = id_of(fetched.get("subscription")) or id_of(fetched.get("released_subscription"))
    return {} if found is None else {SUBSCRIPTION: await fetch_subscription(client, found)}


@on_stripe(
    "subscription_schedule.updated",
    "subscription_schedule.released",
    "subscription_schedule.completed",
    "subscription_schedule.canceled",
    also=_schedule_context,
)
async def on_schedule(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The change that is to come is part of the subscription's mirror."""
    found = fetched.get(SUBSCRIPTION)
    return None if found is None else await apply_subscription(session, event.owner, found, event.fetched_at)


async def _method_of(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    method = id_of(fetched.get("payment_method"))
    return {} if method is None else {METHOD: await client.call("payment_methods.retrieve", method)}


async def _session_context(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    """The subscription that a session sold, or the method that it set up."""
    setup = id_of(fetched.get("setup_intent"))
    if fetched.get("mode") != "setup" or setup is None:
        return await with_subscription(client, fetched)
    return await _method_of(client, await client.call("setup_intents.retrieve", setup))


@on_stripe(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    also=_session_context,
)
async def on_checkout(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A session that sells a plan: the customer is bound, the subscription mirrored, the checkout ended.

    One that sets a payment method up leaves that.
    """
    if fetched.get("mode") == "setup":
        await _bind(session, fetched, event)
        return await on_setup(session, fetched, event)
    if fetched.get("mode") != "subscription":
        return "not_a_plan"
    await _bind(session, fetched, event)
    checkouts = CheckoutRepository(session)
    checkout = await checkouts.by_session(event.owner, fetched["id"])
    ended = {"complete": "complete", "expired": "expired"}.get(fetched["status"])
    if checkout is not None and ended is not None and checkout.status != ended:
        await checkouts.change(event.owner, checkout.id, {"status": ended})
    found = fetched.get(SUBSCRIPTION)
    return None if found is None else await apply_subscription(session, event.owner, found, event.fetched_at)


@on_stripe(
    "invoice.created",
    "invoice.finalized",
    "invoice.updated",
    "invoice.sent",
    "invoice.overdue",
    "invoice.will_be_due",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice_payment.paid",
)
async def on_invoice(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The mirror is what the invoice is now."""
    await CustomerRepository(session).lock(event.owner)
    return await apply_invoice(session, event.owner, fetched, event.fetched_at)


@on_stripe("invoice.finalization_failed")
async def on_invoice_stuck(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """The same, and an alert while Stripe cannot finish it, as without an address: nobody is asked to pay."""
    word = await on_invoice(session, fetched, event)
    reason = fetched.get("last_finalization_error") or {}
    if fetched["status"] == "draft":
        logger.error(
            "Alert: an invoice cannot be finalised at Stripe", invoice=fetched["id"], code=reason.get("code")
        )
    return word


@on_stripe("invoice.upcoming")
async def on_upcoming(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """One notice, unless the renewal was called off since, or is over. There is no such object at Stripe."""
    details = (fetched.get("parent") or {}).get("subscription_details") or {}
    row = await SubscriptionRepository(session).by_stripe_id(
        event.owner, str(id_of(details.get("subscription")))
    )
    due_at = moment(fetched.get("next_payment_attempt") or fetched.get("period_end"))
    if row is None or row.status != "active" or row.cancel_at is not None:
        return "not_renewed"
    if due_at is None or due_at <= event.fetched_at:
        return "too_late"
    notice = InvoiceUpcoming(
        **asdict(await facts_of(session, row)),
        amount=max(0, fetched["amount_due"]),
        currency=fetched["currency"].upper(),
        due_at=due_at,
    )
    await emit(session, notice, organization_id=event.owner)
    return None


@on_stripe("invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed", also=with_subscription)
async def on_invoice_outcome(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """The same, and the subscription that it pays or does not pay."""
    word = await on_invoice(session, fetched, event)
    found = fetched.get(SUBSCRIPTION)
    if found is not None:
        await apply_subscription(session, event.owner, found, event.fetched_at)
    return word


@on_stripe("invoice.payment_action_required", also=with_subscription)
async def on_action_required(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """The same, and a notice that the payer has to confirm."""
    word = await on_invoice_outcome(session, fetched, event)
    row = await InvoiceMirrorRepository(session).by_stripe_id(event.owner, fetched["id"])
    if row is not None and row.status == "open":
        facts = asdict(invoice_event(InvoiceCreated, row))
        await emit(session, InvoicePaymentActionRequired(**facts), organization_id=event.owner)
    return word


@on_stripe("invoice.deleted")
async def on_invoice_deleted(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
    """A draft is gone."""
    await remove_draft(session, event.owner, str(id_of(fetched)))


@on_stripe(
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.automatically_updated",
    "payment_method.detached",
)
async def on_method(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The mirror is what the method is now."""
    return await apply_method(session, event.owner, fetched, event.fetched_at)


@on_stripe("setup_intent.succeeded", also=_method_of)
async def on_setup(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """What was set up is there to pay with."""
    method = fetched.get(METHOD)
    if method is None:
        return "no_method"
    return await apply_method(session, event.owner, method, event.fetched_at)


@on_stripe("setup_intent.setup_failed")
async def on_setup_failed(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """One notice for each form, however often it is tried; none when a later try went well."""
    reason = fetched.get("last_setup_error") or {}
    if fetched["status"] != "requires_payment_method" or not reason:
        return "settled"
    if await was_told_before(session, event):
        return "told_before"
    failed = PaymentMethodSetupFailed(setup_intent_id=fetched["id"], code=reason.get("code"))
    await emit(session, failed, organization_id=event.owner)
    return None


@on_stripe("credit_note.created", "credit_note.updated", "credit_note.voided", also=context_of_note)
async def on_credit_note(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow
) -> str | None:
    """The mirror is what the credit note is now, and what went back is in the ledger."""
    await CustomerRepository(session).lock(event.owner)
    return await apply_credit_note(session, fetched, event)


@on_stripe(
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    also=invoice_paid_by,
)
async def on_refunds(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """Money of a subscription's payment went back, as when an operator refunds it at Stripe."""
    paid = await _paid(session, fetched, event, fetched["id"])
    if paid is None:
        return NO_INVOICE
    await record_refunds(session, paid, fetched["refunds"])
    return None


@on_stripe(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    also=invoice_paid_by,
)
async def on_dispute(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A payer's bank takes the money of a subscription back, or returns it."""
    paid = await _paid(session, fetched, event, id_of(fetched.get("payment_intent")))
    return NO_INVOICE if paid is None else await record_dispute(session, paid, fetched)


async def _paid(
    session: SystemSession, fetched: dict[str, Any], event: StripeEventRow, intent: str | None
) -> Paid | None:
    """The invoice whose payment it is about, mirrored first; None for a payment of anything else."""
    invoice = fetched.get(INVOICE)
    if invoice is None:
        return None
    await CustomerRepository(session).lock(event.owner)
    await apply_invoice(session, event.owner, invoice, event.fetched_at)
    row = await InvoiceMirrorRepository(session).by_stripe_id(event.owner, invoice["id"])
    return Paid(event.owner, None if row is None else row.id, intent)


@on_stripe("customer.updated", "customer.deleted")
async def on_customer(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The default method is theirs to choose at Stripe, too; a customer that is gone is none."""
    return await apply_customer(session, event.owner, fetched, event.fetched_at)


async def _bind(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
    customer = id_of(fetched.get("customer"))
    if customer is not None:
        await bind_customer(session, event.owner, customer, livemode=event.livemode)
