"""Asks for the jobs of outgoing webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.jobs import JobRepository, NewJob

DELIVER = "webhooks.deliver"
PING = "webhooks.ping"
DRAIN = "webhooks.drain"


class Waiting(NamedTuple):
    """A delivery, and whose it is."""

    organization_id: UUID
    endpoint_id: UUID
    delivery_id: UUID


async def wake_deliveries(
    session: ScopedSession, deliveries: Sequence[Waiting], *, at: datetime | None = None, once: bool = False
) -> int:
    """Queue the sending of deliveries; with `once` not of those that wait already. How many were queued."""
    jobs = [
        NewJob(
            {name: str(value) for name, value in one._asdict().items()},
            queueing_lock=f"{DELIVER}:{one.delivery_id}" if once else None,
            at=at,
        )
        for one in deliveries
    ]
    return len(await JobRepository(session).add_all(jobs, name=DELIVER, queue="webhooks"))


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
