"""Owns that a trial is given once: per organisation, and per card or account that pays."""

from app.core.database import SystemSession
from app.models.billing import Subscription
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.services.stripe_webhooks.commands import queue_command


async def end_repeated_trial(session: SystemSession, subscription: Subscription) -> None:
    """End a trial at once whose payment method has had one in another organisation."""
    methods = PaymentMethodRepository(session)
    usable = await methods.usable(subscription.organization_id)
    fingerprints = [method.fingerprint for method in usable if method.fingerprint is not None]
    if not fingerprints or not await methods.had_trial_elsewhere(subscription.organization_id, fingerprints):
        return
    await queue_command(
        session,
        subscription.organization_id,
        "subscription.end_trial",
        subject_type="subscription",
        subject_id=subscription.id,
        params={"subscription": subscription.stripe_subscription_id},
    )
