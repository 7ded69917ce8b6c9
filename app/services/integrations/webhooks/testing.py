"""Sends a sample to an endpoint while its owner waits."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from pydantic_core import to_json

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Owner, let_go
from app.core.errors import FieldError, Invalid, NotFound
from app.core.ids import uuid7
from app.core.limits import enforce
from app.models.integrations import WebhookAttempt, WebhookEndpoint
from app.repositories.integrations.webhooks import AttemptRepository, EndpointRepository, SecretRepository
from app.schemas.integrations.webhooks import WebhookTested
from app.services.integrations.webhooks.outcomes import Message, Outcome, send
from app.services.integrations.webhooks.pinging import PING, ping_body
from app.services.integrations.webhooks.signing import readable
from app.services.realtime.catalogue import catalogue


class WebhookTestService:
    """Tries an endpoint, whatever its status; what comes of it changes nothing but the log of attempts."""

    def __init__(
        self, request: Request, session: Owner, database: DatabaseOf, principal: CurrentPrincipal
    ) -> None:
        assert principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        self.request = request
        self.session = session
        self.database = database
        self.principal = principal
        self.organization_id: UUID = principal.organization_id

    async def test(self, endpoint_id: UUID, event_type: str) -> WebhookTested:
        """Send a sample of this type now.

        404; 422 `unknown_event_type`; 429 per organisation; 503 `key_unavailable`.
        """
        sample = None if event_type == PING else sample_of(event_type)
        await enforce(self.request, "webhook_test", key=str(self.organization_id))
        # Neither the request's transaction nor another one is open while the endpoint is asked.
        await let_go(self.session)
        message_id = uuid7()
        async with self.database.acting(self.principal) as own:
            endpoint = await EndpointRepository(own).get(endpoint_id)
            if endpoint is None:
                raise NotFound()
            live = await SecretRepository(own).live(self.organization_id, endpoint_id, await own.now())
            started_at = await own.now()
            body = (
                ping_body(endpoint, message_id) if sample is None else _filled(sample, endpoint, message_id)
            )
            message = Message(
                url=endpoint.url,
                secrets=readable(live),
                message_id=message_id,
                body=body,
            )
        outcome = await send(message)
        async with self.database.acting(self.principal) as own:
            # It may have been deleted meanwhile.
            if await EndpointRepository(own).lock(self.organization_id, endpoint_id) is not None:
                attempt = WebhookAttempt(
                    id=message_id,
                    endpoint_id=endpoint_id,
                    number=1,
                    trigger="test",
                    started_at=started_at,
                    **outcome.columns(),
                )
                await AttemptRepository(own).add(attempt)
        return _told(outcome, message_id)


def sample_of(event_type: str) -> dict[str, Any]:
    """The catalogue's sample of a type. 422 `unknown_event_type` for one that webhooks do not carry."""
    for described in catalogue():
        if described.type == event_type and described.webhook:
            return described.sample
    detail = "Webhooks carry no such type of event; the route `event-types` lists them."
    fault = FieldError("/event_type", "unknown_event_type", detail)
    raise Invalid("unknown_event_type", detail, errors=[fault])


def _filled(sample: dict[str, Any], endpoint: WebhookEndpoint, message_id: UUID) -> bytes:
    """The sample as an envelope of this moment; its data stay made up."""
    facts = {
        "id": message_id,
        "timestamp": clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "livemode": get_settings().environment == "production",
        "organization_id": endpoint.organization_id,
    }
    return to_json({**sample, **facts})


def _told(outcome: Outcome, message_id: UUID) -> WebhookTested:
    return WebhookTested(
        ok=outcome.is_success,
        response_status=outcome.status,
        duration_ms=outcome.duration_ms,
        error_code=outcome.error_code,
        hint=outcome.hint,
        message_id=message_id,
    )


WebhookTests = Annotated[WebhookTestService, Depends()]
