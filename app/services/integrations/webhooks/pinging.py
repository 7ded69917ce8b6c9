"""Asks a failing endpoint whether it is there again, and lets go what was held meanwhile."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic_core import to_json

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.errors import Unavailable
from app.core.events import API_VERSION
from app.core.ids import uuid7
from app.models.integrations import WebhookAttempt, WebhookEndpoint
from app.repositories.integrations.webhooks import (
    AttemptRepository,
    DeliveryRepository,
    EndpointRepository,
    SecretRepository,
)
from app.repositories.integrations.webhooks.queue import Waiting, wake_deliveries, wake_drain, wake_ping
from app.services.integrations.webhooks.health import HEALTHY, PING_PATIENCE, after_ping
from app.services.integrations.webhooks.outcomes import Message, Outcome, send
from app.services.integrations.webhooks.sending import EARLY, SENDER, follow, leave_alone, tell_recovered
from app.services.integrations.webhooks.signing import readable

PING = "webhook.ping"

RELEASED = (5, 10, 20, 50)
"""Held deliveries that are let go at once, step by step; the last for every further one."""

RELEASE_PAUSE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """A ping that this worker sends."""

    organization_id: UUID
    endpoint_id: UUID
    attempt_id: UUID
    message: Message


def ping_body(endpoint: WebhookEndpoint, message_id: UUID) -> bytes:
    """The envelope of a ping, which is no event of the log."""
    envelope = {
        "id": message_id,
        "type": PING,
        "timestamp": clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "api_version": API_VERSION,
        "livemode": get_settings().environment == "production",
        "organization_id": endpoint.organization_id,
        "actor": {"type": "system", "id": None},
        "object": {"type": "webhook_endpoint", "id": str(endpoint.id)},
        "data": {"webhook_endpoint_id": endpoint.id},
    }
    return to_json(envelope)


async def ping(database: Database, organization_id: UUID, endpoint_id: UUID) -> Outcome | None:
    """Ping an endpoint whose pause is over; None when there is nothing to ask."""
    try:
        async with database.transaction(principal=SENDER) as session:
            pinged = await _begin(session, organization_id, endpoint_id)
    except Unavailable:
        pinged = None
        await leave_alone(database, organization_id, endpoint_id)
    if pinged is None:
        return None
    outcome = await send(pinged.message)
    async with database.transaction(principal=SENDER) as session:
        await _record(session, pinged, outcome)
    return outcome


async def _begin(session: SystemSession, organization_id: UUID, endpoint_id: UUID) -> Pinged | None:
    endpoints = EndpointRepository(session)
    endpoint = await endpoints.lock(organization_id, endpoint_id)
    if endpoint is None or endpoint.status != "active" or endpoint.circuit == "closed":
        return None
    now = await session.now()
    if endpoint.circuit_until is not None and endpoint.circuit_until > now + EARLY:
        if endpoint.circuit == "open":
            await wake_ping(session, organization_id, endpoint_id, at=endpoint.circuit_until)
        return None
    half_open = {"circuit": "half_open", "circuit_until": now + PING_PATIENCE}
    await endpoints.change(organization_id, endpoint_id, half_open)
    live = await SecretRepository(session).live(organization_id, endpoint_id, now)
    message_id = uuid7()
    attempt = WebhookAttempt(
        organization_id=organization_id,
        id=message_id,
        endpoint_id=endpoint_id,
        number=endpoint.circuit_step,
        trigger="ping",
        started_at=now,
    )
    await AttemptRepository(session).add(attempt)
    message = Message(
        url=endpoint.url,
        secrets=readable(live),
        message_id=message_id,
        body=ping_body(endpoint, message_id),
    )
    return Pinged(
        organization_id=organization_id, endpoint_id=endpoint_id, attempt_id=message_id, message=message
    )


async def _record(session: SystemSession, pinged: Pinged, outcome: Outcome) -> None:
    organization_id = pinged.organization_id
    endpoints = EndpointRepository(session)
    endpoint = await endpoints.lock(organization_id, pinged.endpoint_id)
    if endpoint is None:
        return
    await AttemptRepository(session).finish(organization_id, pinged.attempt_id, outcome.columns())
    if endpoint.status != "active" or endpoint.circuit != "half_open":
        return
    verdict = after_ping(endpoint, outcome, await session.now())
    endpoint = await endpoints.change(organization_id, endpoint.id, verdict.values)
    await follow(session, endpoint, verdict)
    if endpoint.circuit == "closed" and endpoint.status == "active":
        count = await tell_recovered(session, endpoint)
        if count == 0 and outcome.is_success:
            await endpoints.change(organization_id, endpoint.id, HEALTHY)


async def drain(database: Database, organization_id: UUID, endpoint_id: UUID, step: int) -> int:
    """Let go the oldest held deliveries of an endpoint that is sent to, and queue the next step; how many."""
    async with database.transaction(principal=SENDER) as session:
        endpoint = await EndpointRepository(session).lock(organization_id, endpoint_id)
        if endpoint is None or endpoint.status != "active" or endpoint.circuit != "closed":
            return 0
        now, size = await session.now(), RELEASED[min(step, len(RELEASED) - 1)]
        ids = await DeliveryRepository(session).release(organization_id, endpoint_id, now, size)
        await wake_deliveries(session, [Waiting(organization_id, endpoint_id, one) for one in ids])
        if len(ids) == size:
            later = now + RELEASE_PAUSE
            await wake_drain(session, organization_id, endpoint_id, step=step + 1, at=later)
    return len(ids)
