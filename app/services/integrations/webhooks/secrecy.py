"""The secrets of endpoints as people keep them: shown again, and replaced."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.models.integrations import WebhookEndpoint
from app.repositories.integrations.webhooks import EndpointRepository, SecretRepository
from app.schemas.integrations.webhooks import WebhookSecretRotated, WebhookSecretShown
from app.services.integrations.webhooks.events import WebhookEndpointSecretRevealed, WebhookEndpointUpdated
from app.services.integrations.webhooks.signing import new_secret, readable
from app.services.integrations.webhooks.telling import facts_of

MOST_LIVE = 5


class WebhookSecretService:
    """What a team does with the secrets of its endpoints."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        assert principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        self.session = session
        self.organization_id = principal.organization_id
        self.secrets = SecretRepository(session)

    async def rotate(self, endpoint_id: UUID, grace_seconds: int) -> WebhookSecretRotated:
        """Sign with a new secret, and for a while with the older one too.

        404; 409 `too_many_active_secrets`.
        """
        endpoint = await self._locked(endpoint_id)
        now = await self.session.now()
        live = await self.secrets.live(self.organization_id, endpoint_id, now)
        if len(live) + bool(grace_seconds) > MOST_LIVE:
            raise Conflict(
                "too_many_active_secrets",
                f"{MOST_LIVE} secrets sign already; wait until one ends, or end the present one at once.",
            )
        ends = now + timedelta(seconds=grace_seconds)
        await self.secrets.retire(self.organization_id, endpoint_id, ends)
        row, shown = new_secret(self.organization_id, endpoint_id)
        await self.secrets.add(row)
        endpoint = await EndpointRepository(self.session).change(
            self.organization_id, endpoint_id, {"version": endpoint.version + 1}
        )
        await emit(self.session, WebhookEndpointUpdated(**facts_of(endpoint), fields=["secret"]))
        return WebhookSecretRotated(secret=shown, previous_expires_at=ends)

    async def reveal(self, endpoint_id: UUID) -> WebhookSecretShown:
        """The current secret. 404; 503 `key_unavailable`."""
        endpoint = await self._locked(endpoint_id)
        now = await self.session.now()
        live = await self.secrets.live(self.organization_id, endpoint_id, now)
        if not live:
            raise NotFound()
        await emit(self.session, WebhookEndpointSecretRevealed(**facts_of(endpoint)))
        return WebhookSecretShown(secret=readable(live[:1])[0])

    async def _locked(self, endpoint_id: UUID) -> WebhookEndpoint:
        endpoint = await EndpointRepository(self.session).lock(self.organization_id, endpoint_id)
        if endpoint is None:
            raise NotFound()
        return endpoint


WebhookSecrets = Annotated[WebhookSecretService, Depends()]
