"""Asks for the jobs of Stripe that are about no single row."""

from app.core.database import ScopedSession
from app.repositories.jobs import JobRepository

RECONCILE = "reconcile_stripe"


async def wake_reconciliation(session: ScopedSession) -> int | None:
    """Queue the comparison with Stripe; None when it waits already."""
    return await JobRepository(session).add(
        name=RECONCILE,
        queue="maintenance",
        priority=0,
        arguments={},
        lock=None,
        queueing_lock=RECONCILE,
        at=None,
    )
