"""Owns what becomes of reservations that nobody ended, and of counted events that are old."""

from datetime import timedelta

from app.core import clock
from app.core.database import Database, ScopedSession
from app.repositories.billing.usage import expired, prune
from app.services.billing.usage import release

KEPT_DAYS = 400
"""How long it is known under which ids something was counted; sums are kept for good."""

AT_ONCE = 500


async def release_expired(database: Database) -> int:
    """Give back what workers that died had reserved; each in a transaction of its own. How many."""
    released = 0
    async with database.transaction() as session:
        found = await expired(session, clock.now(), AT_ONCE)
    for organization_id, key in found:
        async with database.transaction() as session:
            released += await release(session, organization_id, key)
    return released


async def prune_events(session: ScopedSession, limit: int) -> int:
    """Forget events that were counted longer ago than they are kept; how many."""
    return await prune(session, clock.now() - timedelta(days=KEPT_DAYS), limit)
