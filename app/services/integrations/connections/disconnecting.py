"""Ends connections: the credentials are wiped at once, and given back to the service afterwards."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.clients.connections.registry import OAUTH
from app.core.access import CurrentPrincipal
from app.core.crypto import SealBroken
from app.core.database import Unscoped
from app.core.errors import NotFound, Unavailable
from app.core.events import emit
from app.models.integrations import Integration
from app.repositories.integrations.connections import IntegrationRepository
from app.services.integrations.connections.events import IntegrationDisconnected
from app.services.integrations.connections.providers import service_of
from app.services.integrations.connections.revoking import keep_for_revocation
from app.services.integrations.connections.sealed import access_token, refresh_token
from app.services.integrations.connections.writing import note


class DisconnectService:
    """Ends connections of one organisation; the session sees what is to be revoked, too."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def disconnect(self, integration_id: UUID) -> None:
        """End a connection; one that has ended stays as it is. 404."""
        organization_id = self.principal.organization_id
        assert organization_id is not None  # noqa: S101 - the marker asks for a permission
        repository = IntegrationRepository(self.session)
        row = await repository.find(organization_id, integration_id, lock=True)
        if row is None:
            raise NotFound()
        if row.status == "disconnected":
            return
        kept = _kept(row)
        if kept is not None:
            account_id = row.external_account_id
            await keep_for_revocation(self.session, row.id, row.service, kept, account_id=account_id)
        ended = {
            "status": "disconnected",
            "access_token_sealed": None,
            "refresh_token_sealed": None,
            "token_expires_at": None,
            "token_version": row.token_version + 1,
            "refresh_lease_until": None,
            "refresh_lease_by": None,
            "next_refresh_at": None,
            "error_code": None,
            "error_message": None,
            "disconnected_at": await self.session.now(),
        }
        row = await repository.change(organization_id, row.id, ended)
        await note(self.session, row, "disconnect")
        await emit(self.session, IntegrationDisconnected.of(row), organization_id=organization_id)


def _kept(row: Integration) -> str | None:
    """What the service has to be told in order to revoke the grant; None where nothing can be."""
    if row.service not in OAUTH:
        return None
    try:
        return service_of(row).revocable(
            account_id=row.external_account_id, access=access_token(row), refresh=refresh_token(row)
        )
    except (SealBroken, Unavailable):
        # Nobody can read the grant any more, or nobody is there who could be told.
        return None


Disconnecting = Annotated[DisconnectService, Depends()]
