"""Finds again what lost workers left of deliveries and pings, and forgets what is old."""

from datetime import timedelta

from app.core.config import get_settings
from app.core.database import Database
from app.repositories.integrations.webhooks import (
    AttemptRepository,
    DeliveryRepository,
    EndpointRepository,
    SecretRepository,
)
from app.repositories.integrations.webhooks.queue import Waiting, wake_deliveries, wake_drain, wake_ping

LATE = timedelta(seconds=30)
"""Whose time passed so long ago has lost its job, or its job is late and finds nothing to do."""

BATCH = 500
SHOWN = timedelta(days=1)
"""How long it is shown that a held delivery was cancelled because its event is too old."""


async def rescue(database: Database) -> int:
    """Queue again what should have been sent, pinged or let go; how much had no job."""
    async with database.transaction() as session:
        before = await session.now() - LATE
        endpoints = EndpointRepository(session)
        late = await DeliveryRepository(session).overdue(before, BATCH)
        count = await wake_deliveries(session, [Waiting(*ids) for ids in late], once=True)
        jobs = [
            await wake_ping(session, organization_id, endpoint_id, at=None)
            for organization_id, endpoint_id in await endpoints.overdue_circuits(before, BATCH)
        ]
        jobs += [
            await wake_drain(session, organization_id, endpoint_id)
            for organization_id, endpoint_id in await endpoints.open_with_held(BATCH)
        ]
    return count + sum(job_id is not None for job_id in jobs)


async def prune(database: Database) -> None:
    """Cancel what was held for as long as events are kept, and forget what is older, in small steps."""
    age = timedelta(days=get_settings().events_retention_days)
    changed = BATCH
    while changed >= BATCH:
        async with database.transaction() as session:
            now = await session.now()
            deliveries = DeliveryRepository(session)
            counts = [
                await deliveries.expire(now - age, now, BATCH),
                await deliveries.prune(now - age, now - SHOWN, BATCH),
                await AttemptRepository(session).forget_loose(now - age, BATCH),
                await SecretRepository(session).forget_expired(now - age, BATCH),
            ]
        changed = max(counts)
