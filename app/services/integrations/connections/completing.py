"""Completes connections: the person who began one exchanges the code that came back for a grant."""

import time
from typing import Annotated

import structlog
from fastapi import Depends

from app.clients.connections import Account, Grant, ServiceDown, ServiceRefused
from app.clients.connections.oauth import OAuthService
from app.core.access import CurrentPrincipal
from app.core.crypto import SealBroken
from app.core.database import Database, DatabaseOf, Unscoped, let_go
from app.core.errors import BadRequest, Conflict, Forbidden, Gone, Unavailable
from app.core.ids import uuid7
from app.models.integrations import OAuthState
from app.repositories.integrations.authorizing import OAuthStateRepository
from app.schemas.integrations.connections import IntegrationRead
from app.services.integrations.connections.providers import callback_address, oauth_service
from app.services.integrations.connections.revoking import keep_for_revocation, revoke
from app.services.integrations.connections.sealed import CODE, VERIFIER, digest, opened
from app.services.integrations.connections.starting import SOON
from app.services.integrations.connections.writing import Proven, write_connection

logger = structlog.get_logger(__name__)


class CompletionService:
    """Makes a connection of an approval."""

    def __init__(self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database: Database = database
        self.principal = principal

    async def complete(self, completion: str) -> IntegrationRead:
        """The connection. The way is used up for good before the service is asked.

        400 `state_invalid`; 403 `connection_owner_mismatch`; 409 `connection_failed` with `reason`,
        `account_mismatch`; 410 `state_expired`; 503 `provider_unavailable`. No transaction is open while the
        service is asked.
        """
        await let_go(self.session)
        state = await self._use(completion)
        service = oauth_service(state.service, shop=state.params.get("shop"))
        started = time.monotonic()
        try:
            code, verifier = _secrets_of(state)
            grant = await service.exchange(code, verifier, callback_address(state.service))
            account = await service.identify(grant)
        except SealBroken:
            raise _connection_failed("key_unavailable") from None
        except ServiceDown as down:
            logger.warning("integration_service_down", service=state.service, reason=down.reason)
            raise Unavailable(
                "provider_unavailable", "The service does not answer; begin again later.", headers=SOON
            ) from None
        except ServiceRefused as refusal:
            logger.warning("integration_refused", service=state.service, reason=refusal.code)
            raise _connection_failed(refusal.code) from None
        scopes = await self._granted(service, state, grant, account)
        row = await write_connection(
            self.session,
            state.organization_id,
            self.principal.user_id,
            Proven(
                service=state.service,
                auth_mode=service.auth_mode,
                account=account,
                scopes=scopes,
                access_token=grant.access_token,
                refresh_token=grant.refresh_token,
                token_type=grant.token_type,
                expires_in=grant.expires_in,
                is_long_lived=service.is_long_lived,
                duration_ms=round((time.monotonic() - started) * 1000),
            ),
            again=state.integration_id,
        )
        return IntegrationRead.model_validate(row)

    async def _use(self, completion: str) -> OAuthState:
        """The way behind a completion token, used up whoever asks."""
        async with self.database.transaction() as session:
            now = await session.now()
            state = await OAuthStateRepository(session).use(digest(completion), now)
        if state is None:
            raise BadRequest("state_invalid", "This was used, or is not ours; connect the service again.")
        mine = (self.principal.user_id, self.principal.organization_id)
        if (state.user_id, state.organization_id) != mine:
            raise Forbidden(
                "connection_owner_mismatch",
                "Somebody else began this connection, or you did in another organisation; begin it yourself.",
            )
        if state.expires_at <= now:
            raise Gone("state_expired", "This took longer than ten minutes; connect the service again.")
        return state

    async def _granted(
        self, service: OAuthService, state: OAuthState, grant: Grant, account: Account
    ) -> tuple[str, ...]:
        """The scopes that were granted; a grant that is of no use is given back."""
        told = account.scopes if account.scopes is not None else grant.scopes
        granted = told if told is not None else tuple(state.scopes)
        if not service.missing_scopes(granted):
            return granted
        kept = service.revocable(
            account_id=account.id, access=grant.access_token, refresh=grant.refresh_token
        )
        if kept is not None:
            await self._give_back(service.name, account.id, kept)
        raise _connection_failed("scopes_missing")

    async def _give_back(self, service: str, account_id: str, kept: str) -> None:
        """Revoke a grant at once; when that cannot be, the job that is due next tries again."""
        async with self.database.transaction() as session:
            # There is no connection that it belongs to.
            revocation_id = await keep_for_revocation(session, uuid7(), service, kept, account_id=account_id)
        await revoke(self.database, revocation_id)


def _secrets_of(state: OAuthState) -> tuple[str, str | None]:
    """The code that came back, and the PKCE verifier; SealBroken."""
    code = opened(CODE, state.id, state.code_sealed or b"")
    sealed_verifier = state.pkce_verifier_sealed
    return code, None if sealed_verifier is None else opened(VERIFIER, state.id, sealed_verifier)


def _connection_failed(reason: str) -> Conflict:
    return Conflict(
        "connection_failed",
        "The service did not grant what is needed, see `reason`; connect it again.",
        reason=reason,
    )


Completing = Annotated[CompletionService, Depends()]
