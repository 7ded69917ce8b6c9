"""Owns the sweep of what a lost job left, and the removal of what is old."""

from datetime import timedelta

from app.core.config import get_settings
from app.core.database import Database
from app.repositories.stripe_webhooks.commands import CommandRepository
from app.repositories.stripe_webhooks.events import EventRepository

LATE = timedelta(minutes=2)
"""Whose time passed so long ago has no job any more, or one that still waits and is left alone."""

BATCH = 500
KEPT = timedelta(days=400)


async def sweep(database: Database) -> int:
    """Queue the jobs of events and commands whose time has passed; how many had none."""
    async with database.transaction() as session:
        before = await session.now() - LATE
        events, commands = EventRepository(session), CommandRepository(session)
        woken = [await events.wake(event_id) for event_id in await events.overdue(before, BATCH)]
        for organization_id, command_id in await commands.overdue(before, BATCH):
            woken.append(await commands.wake(organization_id, command_id, once=True))
    return sum(job_id is not None for job_id in woken)


async def prune(database: Database) -> None:
    """Empty payloads after STRIPE_PAYLOAD_DAYS, and remove events and commands after 400 days."""
    payload_age = timedelta(days=get_settings().stripe_payload_days)
    changed = BATCH
    while changed >= BATCH:
        async with database.transaction() as session:
            now = await session.now()
            counts = [
                await EventRepository(session).empty_payloads(now - payload_age, BATCH),
                await EventRepository(session).prune(now - KEPT, BATCH),
                await CommandRepository(session).prune(now - KEPT, BATCH),
            ]
        changed = max(counts)
