"""Owns moving people's keys to the newest key of the ring, so that an old one may leave it."""

from uuid import UUID

import structlog

from app.core.crypto import SealBroken, key_ring, seal, sealed_by, unseal
from app.core.database import Database
from app.repositories.audit import SubjectKeyRepository
from app.services.audit.personal import context_of

logger = structlog.get_logger(__name__)

STEP = 500
"""Keys that one transaction seals anew."""


async def reseal_keys(database: Database) -> int:
    """Seal with the newest key what an older one sealed; how many keys were moved.

    One that does not open stays as it is: its root key left the ring too early, and may come back.
    """
    ring, moved, found = key_ring(), 0, STEP
    after: UUID | None = None
    while found == STEP:
        async with database.transaction() as session:
            keys = SubjectKeyRepository(session)
            rows = await keys.without(sealed_by(ring), after=after, limit=STEP)
            for subject_id, sealed in rows:
                context = context_of(subject_id)
                try:
                    plain = unseal(ring, sealed, context=context)
                except SealBroken:
                    logger.error("subject_key_unreadable", subject_id=str(subject_id))
                    continue
                await keys.replace(subject_id, sealed, seal(ring, plain, context=context))
                moved += 1
        found = len(rows)
        after = rows[-1][0] if rows else after
    return moved
