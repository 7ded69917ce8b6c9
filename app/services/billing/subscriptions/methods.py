"""Owns the mirror of payment methods."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.database import ScopedSession, SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.billing import PaymentMethod
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.subscriptions.customers import SET_DEFAULT, known_customer
from app.services.billing.subscriptions.events import PaymentMethodAdded, PaymentMethodRemoved
from app.services.billing.subscriptions.fetching import id_of
from app.services.billing.subscriptions.trials import end_repeated_trial
from app.services.stripe_webhooks.commands import queue_command

TYPES = {"card": "card", "paypal": "paypal", "sepa_debit": "sepa"}
"""Stripe's words, and ours."""


async def apply_method(
    session: SystemSession, organization_id: UUID, fetched: dict[str, Any], fetched_at: datetime
) -> str | None:
    """Let the mirror be what was fetched; the first method is the default, and a detached one is gone.

    Takes the billing lock.
    """
    if fetched.get("type") not in TYPES:
        return "unknown_type"
    await CustomerRepository(session).lock(organization_id)
    methods = PaymentMethodRepository(session)
    row = await methods.by_stripe_id(organization_id, fetched["id"])
    if row is not None and row.synced_at is not None and row.synced_at >= fetched_at:
        return "superseded"
    if id_of(fetched.get("customer")) is None:
        if row is not None and row.detached_at is None:
            await detach(session, row, fetched_at)
        return None
    values = values_of(fetched)
    if row is not None:
        await methods.change(row, {**values, "detached_at": None, "synced_at": fetched_at})
        return None
    if values["fingerprint"] is not None and await methods.by_fingerprint(
        organization_id, values["type"], values["fingerprint"]
    ):
        return "known_fingerprint"
    await _add(session, organization_id, fetched["id"], {**values, "synced_at": fetched_at})
    return None


async def _add(
    session: SystemSession, organization_id: UUID, stripe_id: str, values: dict[str, Any]
) -> PaymentMethod:
    methods = PaymentMethodRepository(session)
    is_first = not await methods.usable(organization_id)
    row = await methods.add(
        PaymentMethod(
            organization_id=organization_id,
            id=uuid7(),
            stripe_payment_method_id=stripe_id,
            is_default=is_first,
            **values,
        )
    )
    if is_first:
        await tell_stripe_default(session, row)
    event = PaymentMethodAdded(payment_method_id=row.id, type_=row.type, last4=row.last4)
    await emit(session, event, organization_id=organization_id)
    subscription = await SubscriptionRepository(session).live(organization_id)
    if subscription is not None and subscription.status == "trialing":
        await end_repeated_trial(session, subscription)
    return row


async def detach(session: ScopedSession, row: PaymentMethod, now: datetime) -> None:
    """Let a method be gone; the newest other becomes the default in its place."""
    methods = PaymentMethodRepository(session)
    was_default = row.is_default
    await methods.change(row, {"detached_at": now, "is_default": False, "synced_at": now})
    others = await methods.usable(row.organization_id)
    if was_default and others:
        await methods.set_default(row.organization_id, others[0].id)
        await tell_stripe_default(session, others[0])
    event = PaymentMethodRemoved(payment_method_id=row.id, type_=row.type, last4=row.last4)
    await emit(session, event, organization_id=row.organization_id)


async def tell_stripe_default(session: ScopedSession, row: PaymentMethod) -> None:
    """Have Stripe take this method for what is paid from now on."""
    customer = await CustomerRepository(session).of(row.organization_id)
    subscription = await SubscriptionRepository(session).live(row.organization_id)
    at_stripe = None if customer is None else known_customer(customer)
    if at_stripe is None:
        return
    await queue_command(
        session,
        row.organization_id,
        SET_DEFAULT,
        subject_type="payment_method",
        subject_id=row.id,
        params={
            "customer": at_stripe,
            "payment_method": row.stripe_payment_method_id,
            "subscription": subscription.stripe_subscription_id if subscription else None,
        },
    )


def values_of(fetched: dict[str, Any]) -> dict[str, Any]:
    """The columns of a method of Stripe; it has no number, and neither have we."""
    kind = fetched["type"]
    part = fetched.get(kind) or {}
    billing = fetched.get("billing_details") or {}
    return {
        "type": TYPES[kind],
        "fingerprint": part.get("fingerprint"),
        "last4": part.get("last4"),
        "brand": part.get("brand"),
        "expiry_month": part.get("exp_month"),
        "expiry_year": part.get("exp_year"),
        "email": part.get("payer_email") or billing.get("email"),
        "mandate_reference": part.get("mandate"),
    }
