"""Owns clearing away what is over: challenges, authenticators without a first code, counted failures."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from app.core.database import Database, SystemSession
from app.repositories.auth import ChallengeRepository, FactorRepository, ThrottleRepository
from app.services.auth.throttle import FORGOTTEN_AFTER, LOCKED_FOR_GOOD
from app.services.auth.two_factor.rules import PENDING_FOR

CHALLENGES_KEPT = timedelta(hours=24)
BATCH = 5_000
"""Rows that one transaction deletes."""


async def prune_second_factors(database: Database, now: datetime) -> None:
    """Delete challenges a day after they expired, and authenticators that got no code in ten minutes."""
    await _in_batches(
        database, lambda session: ChallengeRepository(session).prune(now - CHALLENGES_KEPT, limit=BATCH)
    )
    async with database.transaction() as session:
        await FactorRepository(session).prune_pending(now - PENDING_FOR)


async def prune_failures(database: Database, now: datetime) -> None:
    """Delete counted failures a day after the last one; those that lock for good stay."""
    await _in_batches(
        database,
        lambda session: ThrottleRepository(session).prune(
            before=now - FORGOTTEN_AFTER, kept_from=LOCKED_FOR_GOOD, limit=BATCH
        ),
    )


async def _in_batches(database: Database, delete: Callable[[SystemSession], Awaitable[int]]) -> None:
    deleted = BATCH
    while deleted >= BATCH:
        async with database.transaction() as session:
            deleted = await delete(session)
