"""Outgoing webhooks in the background: from events to deliveries, and from deliveries to endpoints."""

from uuid import UUID

from app.core.database import Database, SystemSession
from app.core.events import WEBHOOKS
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import job
from app.services.integrations.webhooks import pinging, queueing, sending, upkeep


@handler(WEBHOOKS)
async def queue_deliveries(session: SystemSession, event: EventRow) -> None:
    """Make the deliveries of an event; one statement where no endpoint asks for it."""
    if event.organization_id is not None:
        await queueing.queue_deliveries(
            session,
            organization_id=event.organization_id,
            event_id=event.event_id,
            event_type=event.type,
            body=event.body,
            occurred_at=event.occurred_at,
        )


@handler("webhook_drain")
async def begin_drain(session: SystemSession, event: EventRow) -> None:
    """Let go what was held for an endpoint that somebody enabled."""
    if event.organization_id is not None:
        await queueing.queue_drain(session, event.organization_id, UUID(event.data["webhook_endpoint_id"]))


@handler("webhook_retry")
async def begin_retry(session: SystemSession, event: EventRow) -> None:
    """Queue a delivery that somebody wants to be sent again."""
    if event.organization_id is not None:
        await queueing.queue_retry(session, event.organization_id, UUID(event.data["delivery_id"]))


@job("webhooks.deliver", queue="webhooks")
async def deliver(database: Database, *, organization_id: str, endpoint_id: str, delivery_id: str) -> None:
    """Send one delivery; its row says when it is tried again."""
    await sending.deliver(database, UUID(organization_id), UUID(endpoint_id), UUID(delivery_id))


@job("webhooks.ping", queue="webhooks")
async def ping(database: Database, *, organization_id: str, endpoint_id: str) -> None:
    """Ask an endpoint that is left alone whether it is there again."""
    await pinging.ping(database, UUID(organization_id), UUID(endpoint_id))


@job("webhooks.drain", queue="webhooks")
async def drain(database: Database, *, organization_id: str, endpoint_id: str, step: int) -> None:
    """Let go some of what was held."""
    await pinging.drain(database, UUID(organization_id), UUID(endpoint_id), step)


@job("webhooks.rescue", queue="default", cron="* * * * * */30")
async def rescue(database: Database) -> None:
    """Every 30 seconds: what a lost worker left is sent again."""
    await upkeep.rescue(database)


@job("webhooks.prune", queue="maintenance", cron="55 3 * * *")
async def prune(database: Database) -> None:
    """Nightly: deliveries as old as events are kept, with their attempts."""
    await upkeep.prune(database)
