"""Asks for the jobs of outgoing webhooks."""

from datetime import datetime
from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.jobs import JobRepository

DELIVER = "webhooks.deliver"
PING = "webhooks.ping"
DRAIN = "webhooks.drain"


async def wake_delivery(
    session: ScopedSession,
    organization_id: UUID,
    endpoint_id: UUID,
    delivery_id: UUID,
    *,
    at: datetime | None = None,
    once: bool = False,
) -> int | None:
    """Queue the sending of a delivery; with `once` None when it waits already."""
    return await JobRepository(session).add(
        name=DELIVER,
        queue="webhooks",
        priority=0,
        arguments={
            "organization_id": str(organization_id),
            "endpoint_id": str(endpoint_id),
            "delivery_id": str(delivery_id),
        },
        lock=None,
        queueing_lock=f"{DELIVER}:{delivery_id}" if once else None,
        at=at,
    )


async def wake_ping(
    session: ScopedSession, organization_id: UUID, endpoint_id: UUID, *, at: datetime | None
) -> int | None:
    """Queue the ping of an endpoint; None when one waits already that is as soon.

    One that waits for later, as after an endpoint was enabled and failed again, is brought forward.
    """
    jobs, queueing_lock = JobRepository(session), f"{PING}:{endpoint_id}"
    added = await jobs.add(
        name=PING,
        queue="webhooks",
        priority=0,
        arguments={"organization_id": str(organization_id), "endpoint_id": str(endpoint_id)},
        lock=None,
        queueing_lock=queueing_lock,
        at=at,
    )
    return added if added is not None else await jobs.hasten(queueing_lock, at)


async def wake_drain(
    session: ScopedSession,
    organization_id: UUID,
    endpoint_id: UUID,
    *,
    step: int = 0,
    at: datetime | None = None,
) -> int | None:
    """Queue the release of held deliveries; None when that waits already."""
    return await JobRepository(session).add(
        name=DRAIN,
        queue="webhooks",
        priority=0,
        arguments={"organization_id": str(organization_id), "endpoint_id": str(endpoint_id), "step": step},
        lock=None,
        queueing_lock=f"{DRAIN}:{endpoint_id}",
        at=at,
    )
