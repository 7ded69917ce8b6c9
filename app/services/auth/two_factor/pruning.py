"""Owns clearing away what nobody finished: challenges of sign-ins, authenticators without a first code."""

from datetime import datetime, timedelta

from app.core.database import Database
from app.repositories.auth import ChallengeRepository, FactorRepository
from app.services.auth.two_factor.common import PENDING_FOR

CHALLENGES_KEPT = timedelta(hours=24)
BATCH = 5_000
"""Rows that one transaction deletes."""


async def prune_second_factors(database: Database, now: datetime) -> None:
    """Delete challenges a day after they expired, and authenticators that got no code in ten minutes."""
    deleted = BATCH
    while deleted >= BATCH:
        async with database.transaction() as session:
            deleted = await ChallengeRepository(session).prune(now - CHALLENGES_KEPT, limit=BATCH)
    async with database.transaction() as session:
        await FactorRepository(session).prune_pending(now - PENDING_FOR)
