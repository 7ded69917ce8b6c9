"""Owns what becomes different by time alone: grace that is over, pages of checkout that are too old."""

from datetime import timedelta

from app.clients.stripe import StripeNotConfigured, stripe_client
from app.core.config import get_settings
from app.core.database import SystemSession
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.access import access_in
from app.services.billing.subscriptions.telling import facts_of, tell_access

DAY = timedelta(days=1)


def is_configured() -> bool:
    """Whether this process has a Stripe to compare with."""
    try:
        stripe_client()
    except StripeNotConfigured:
        return False
    return True


async def tell_grace_over(session: SystemSession) -> int:
    """Tell of every subscription whose grace was over since yesterday's midnight (UTC); how many.

    What may be done follows from the time and not from this. Days are told of whole, so that each
    subscription is told of by one daily run.
    """
    midnight = (await session.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    grace = timedelta(days=get_settings().billing_grace_days)
    over = await SubscriptionRepository(session).overdue_between(midnight - DAY - grace, midnight - grace)
    for row in over:
        previous = access_in(row.status, row.past_due_since, row.past_due_since or midnight)
        await tell_access(session, row, await facts_of(session, row), previous=previous)
    return len(over)


async def close_checkouts(session: SystemSession) -> int:
    """Let open pages expire whose time is over; how many."""
    return await CheckoutRepository(session).close_old(await session.now())
