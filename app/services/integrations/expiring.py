"""Tells in good time that keys expire."""

from datetime import timedelta
from itertools import groupby
from math import ceil

from app.core.database import ScopedSession
from app.core.events import emit_all
from app.repositories.integrations import ApiKeyRepository
from app.services.integrations.events import ApiKeyExpiring
from app.services.integrations.revoking import facts_of

TERMS = (1, 7, 14)
"""Days before the end at which a notice is due, the shortest first: one key gets one notice at a time."""

DAY = timedelta(days=1)


async def tell_expiring(session: ScopedSession) -> int:
    """Emit `api_key.expiring` for every key, of any organisation, whose next notice is due; how many."""
    now = await session.now()
    repository = ApiKeyRepository(session)
    due = [key for days in TERMS for key in await repository.note_expiring(now, days)]
    due.sort(key=lambda key: (key.organization_id, key.id))
    for organization_id, keys in groupby(due, key=lambda key: key.organization_id):
        events = [
            ApiKeyExpiring(**facts_of(key), days=ceil((key.expires_at - now) / DAY))
            for key in keys
            if key.expires_at is not None
        ]
        await emit_all(session, events, organization_id=organization_id)
    return len(due)
