"""Owns what events of Stripe do to subscriptions, payment methods and the platform's invoices."""

from dataclasses import asdict
from typing import Any

from app.clients.stripe import StripeClient
from app.core.database import SystemSession
from app.core.events import emit
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.events import InvoiceCreated, invoice_event
from app.services.billing.subscriptions.customers import apply_customer, bind_customer
from app.services.billing.subscriptions.events import InvoicePaymentActionRequired, SubscriptionTrialEnding
from app.services.billing.subscriptions.fetching import (
    SUBSCRIPTION,
    context_of,
    fetch_subscription,
    id_of,
    with_subscription,
)
from app.services.billing.subscriptions.invoices import apply_invoice, remove_draft
from app.services.billing.subscriptions.methods import apply_method
from app.services.billing.subscriptions.mirror import apply_subscription, close_subscription
from app.services.billing.subscriptions.telling import facts_of
from app.services.stripe_webhooks.effects import StripeEventRow, on_stripe


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


@on_stripe(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    also=with_subscription,
)
async def on_checkout(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A session that sells a plan: the customer is bound, the subscription mirrored, the checkout ended."""
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
    "invoice.finalization_failed",
    "invoice_payment.paid",
)
async def on_invoice(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The mirror is what the invoice is now."""
    await CustomerRepository(session).lock(event.owner)
    return await apply_invoice(session, event.owner, fetched, event.fetched_at)


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


async def _method_of(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    method = id_of(fetched.get("payment_method"))
    if method is None:
        return {}
    return {"_payment_method": await client.call("payment_methods.retrieve", method)}


@on_stripe("setup_intent.succeeded", also=_method_of)
async def on_setup(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """What was set up is there to pay with."""
    method = fetched.get("_payment_method")
    if method is None:
        return "no_method"
    return await apply_method(session, event.owner, method, event.fetched_at)


@on_stripe("customer.updated", "customer.deleted")
async def on_customer(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """The default method is theirs to choose at Stripe, too; a customer that is gone is none."""
    return await apply_customer(session, event.owner, fetched, event.fetched_at)


async def _bind(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
    customer = id_of(fetched.get("customer"))
    if customer is not None:
        await bind_customer(session, event.owner, customer, livemode=event.livemode)
