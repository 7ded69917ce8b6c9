"""From an event to deliveries: what the handler of webhook events does."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.integrations.webhooks import DeliveryRepository, EndpointRepository
from app.repositories.integrations.webhooks.queue import Waiting, wake_deliveries, wake_drain
from app.services.integrations.webhooks.patterns import patterns_of

OWN_PREFIXES = ("webhook_endpoint.", "webhook_delivery.")
"""Events about an endpoint, which never go to that endpoint."""


async def queue_deliveries(
    session: ScopedSession,
    *,
    organization_id: UUID,
    event_id: UUID,
    event_type: str,
    body: str,
    occurred_at: datetime,
) -> int:
    """Make a delivery for each endpoint that asks for the event, and the jobs of those that are sent to now.

    One statement where nobody asks. Runs once per event. Answers how many deliveries there are.
    """
    endpoints = EndpointRepository(session)
    found = dict(await endpoints.subscribed(organization_id, patterns_of(event_type)))
    if event_type.startswith(OWN_PREFIXES):
        about: Mapping[str, Any] = json.loads(body)["data"]
        found.pop(UUID(about["webhook_endpoint_id"]), None)
    if not all(found.values()):
        # An endpoint may open in this moment and let go what it sees as held; so whoever holds more for it
        # makes sure first that it is still closed to us.
        found = dict(await endpoints.still_open(organization_id, found))
    if not found:
        return 0
    now = await session.now()
    rows = [
        {
            "organization_id": organization_id,
            "endpoint_id": endpoint_id,
            "event_id": event_id,
            "event_type": event_type,
            "status": "pending" if is_open else "held",
            "next_attempt_at": now if is_open else None,
            "created_at": occurred_at,
        }
        for endpoint_id, is_open in found.items()
    ]
    made = await DeliveryRepository(session).add_new(rows)
    due = [Waiting(organization_id, endpoint, delivery) for delivery, endpoint in made if found[endpoint]]
    await wake_deliveries(session, due)
    return len(rows)


async def queue_retry(session: ScopedSession, organization_id: UUID, delivery_id: UUID) -> None:
    """Queue the sending of a delivery that somebody wants to be tried again."""
    endpoint_id = await DeliveryRepository(session).endpoint_of(organization_id, delivery_id)
    if endpoint_id is not None:
        await wake_deliveries(session, [Waiting(organization_id, endpoint_id, delivery_id)])


async def queue_drain(session: ScopedSession, organization_id: UUID, endpoint_id: UUID) -> None:
    """Queue the release of what is held for an endpoint."""
    await wake_drain(session, organization_id, endpoint_id)
