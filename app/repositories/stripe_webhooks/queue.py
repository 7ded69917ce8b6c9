"""Asks for the jobs that compare our rows with Stripe, and repair them."""

from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.jobs import JobRepository

CHECK_CATALOG = "check_stripe_catalog"
RECONCILE = "reconcile_stripe"
REPAIR = "repair_stripe_difference"


async def wake_reconciliation(session: ScopedSession) -> int | None:
    """Queue the comparison with Stripe; None when it waits already."""
    return await _wake(session, RECONCILE)


async def wake_catalog_check(session: ScopedSession) -> int | None:
    """Queue the comparison of prices with Stripe's; None when it waits already."""
    return await _wake(session, CHECK_CATALOG)


async def _wake(session: ScopedSession, name: str) -> int | None:
    return await JobRepository(session).add(
        name=name,
        queue="maintenance",
        priority=0,
        arguments={},
        lock=None,
        queueing_lock=name,
        at=None,
    )


async def wake_repair(session: ScopedSession, difference_id: UUID, *, by: str) -> int | None:
    """Queue the repair of a difference in somebody's name; None when it waits already."""
    return await JobRepository(session).add(
        name=REPAIR,
        queue="stripe",
        priority=0,
        arguments={"difference_id": str(difference_id), "by": by},
        lock=None,
        queueing_lock=f"{REPAIR}:{difference_id}",
        at=None,
    )
