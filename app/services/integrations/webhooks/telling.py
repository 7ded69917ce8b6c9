"""What the events of an endpoint say of it."""

from typing import Any

from app.core.database import ScopedSession
from app.core.events import emit
from app.models.integrations import WebhookEndpoint
from app.repositories.integrations.webhooks import EndpointRepository
from app.services.integrations.webhooks.events import WebhookEndpointDisabled, WebhookEndpointFailing


def facts_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """What every event of an endpoint carries."""
    return {
        "webhook_endpoint_id": endpoint.id,
        "url_host": endpoint.url_host,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
    }


async def held_count(session: ScopedSession, endpoint: WebhookEndpoint) -> int:
    """How many deliveries of an endpoint are held."""
    counts = await EndpointRepository(session).held_counts(endpoint.organization_id, [endpoint.id])
    return counts.get(endpoint.id, 0)


async def tell_failing(session: ScopedSession, endpoint: WebhookEndpoint) -> None:
    """Emit that an endpoint has been failing for a while."""
    assert endpoint.failing_since is not None  # noqa: S101 - it has just failed
    event = WebhookEndpointFailing(
        **facts_of(endpoint),
        failing_since=endpoint.failing_since,
        held_count=await held_count(session, endpoint),
    )
    await emit(session, event, organization_id=endpoint.organization_id)


async def tell_disabled(session: ScopedSession, endpoint: WebhookEndpoint) -> None:
    """Emit that an endpoint is not sent to any more."""
    event = WebhookEndpointDisabled(
        **facts_of(endpoint),
        failing_since=endpoint.failing_since,
        held_count=await held_count(session, endpoint),
    )
    await emit(session, event, organization_id=endpoint.organization_id)
