"""Tries connections on request: whether the service still takes the credentials, and new ones for old."""

import time
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.clients.connections import ServiceDown, ServiceRefused
from app.clients.connections.registry import OAUTH
from app.core.access import CurrentPrincipal
from app.core.database import Database, DatabaseOf, Unscoped, let_go
from app.core.errors import Conflict, NotFound, Unavailable
from app.models.integrations import Integration
from app.repositories.integrations.connections import ALIVE, IntegrationRepository
from app.schemas.integrations.connections import IntegrationRead, IntegrationTest
from app.services.integrations.connections.providers import service_of, store_at
from app.services.integrations.connections.refreshing import (
    UsableToken,
    mark_lost,
    reauthorization_required,
    usable_token,
)
from app.services.integrations.connections.wording import failing, well
from app.services.integrations.connections.writing import note

JUST_NOW = timedelta(seconds=5)
"""Tokens that were refreshed so short a time ago are not refreshed again when somebody asks for it."""


class _FailedError(Exception):
    """A test that failed: why, with which status, and the connection as it was tried."""

    def __init__(self, code: str, status: int | None, row: Integration) -> None:
        super().__init__(code)
        self.code, self.status, self.row = code, status, row


class TrialService:
    """What a team tries with a connection. The service is asked while no transaction is open."""

    def __init__(self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database: Database = database
        self.principal = principal
        self.integrations = IntegrationRepository(session)

    async def test(self, integration_id: UUID) -> IntegrationTest:
        """How the service answers. 404; 409 `not_connected`; 503 `integration_not_configured`."""
        row = await self._read(integration_id)
        if row.status not in ALIVE:
            raise Conflict("not_connected", "This connection does not work; connect the service again.")
        await let_go(self.session)
        started = time.monotonic()
        code, status = None, None
        try:
            tried = await self._try(row)
        except _FailedError as failed:
            code, status, tried = failed.code, failed.status, failed.row
        latency = round((time.monotonic() - started) * 1000)
        after = await self._record(tried, code)
        await note(self.session, after, "test", duration_ms=latency, http_status=status, error_code=code)
        return IntegrationTest(ok=code is None, latency_ms=latency, error_code=code)

    async def refresh(self, integration_id: UUID) -> IntegrationRead:
        """The connection with new tokens.

        404; 409 `reauthorization_required`, `refresh_not_supported`; 503 `provider_unavailable`,
        `integration_not_configured`.
        """
        row = await self._read(integration_id)
        if row.auth_mode != "oauth2":
            raise Conflict("refresh_not_supported", "This service has no tokens that are refreshed.")
        if row.status not in ALIVE:
            raise reauthorization_required()
        if row.refresh_token_sealed is None:
            raise Conflict("refresh_not_supported", "The service gave nothing to refresh by; connect again.")
        if _is_fresh(row, await self.session.now()):
            return IntegrationRead.model_validate(row)
        await let_go(self.session)
        await usable_token(self.database, row.organization_id, row.id, stale_version=row.token_version)
        return IntegrationRead.model_validate(await self._read(integration_id))

    async def _try(self, row: Integration) -> Integration:
        """The connection as it was tried with success; a refused token is renewed and tried again."""
        if row.auth_mode == "inbound":
            return row
        token = await self._token(row)
        refusal = await self._asked(token)
        if refusal is not None and token.row.refresh_token_sealed is not None:
            token = await self._token(row, stale_version=token.row.token_version)
            refusal = await self._asked(token)
        if refusal is not None:
            await mark_lost(self.database, token.row, refusal.code)
            raise _FailedError(refusal.code, refusal.status, token.row)
        return token.row

    async def _token(self, row: Integration, *, stale_version: int | None = None) -> UsableToken:
        try:
            return await usable_token(self.database, row.organization_id, row.id, stale_version=stale_version)
        except Unavailable as missing:
            if missing.code == "integration_not_configured":
                raise
            raise _FailedError("provider_unavailable", None, row) from None
        except Conflict:
            after = await self._read(row.id)
            raise _FailedError(after.error_code or "refresh_rejected", None, row) from None

    async def _asked(self, token: UsableToken) -> ServiceRefused | None:
        """None when the service took the token, or its refusal when the grant may be gone."""
        try:
            await self._ask(token)
        except ServiceDown as down:
            raise _FailedError(down.code, down.status, token.row) from None
        except ServiceRefused as refusal:
            if refusal.is_grant_gone:
                return refusal
            raise _FailedError(refusal.code, refusal.status, token.row) from None
        return None

    async def _ask(self, token: UsableToken) -> None:
        row = token.row
        if row.service in OAUTH:
            await service_of(row).test(token.value)
        else:
            await store_at(str(row.details["store_url"])).test(token.value)

    async def _record(self, tried: Integration, code: str | None) -> Integration:
        """Note the outcome, unless the connection has changed meanwhile; the connection as it is now."""
        values = {"status": "error", **failing(code)} if code else {"status": "connected", **well(tried)}
        changed = await self.integrations.change_version(tried, values)
        return changed if changed is not None else await self._read(tried.id)

    async def _read(self, integration_id: UUID) -> Integration:
        assert self.principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        row = await self.integrations.find(self.principal.organization_id, integration_id)
        if row is None:
            raise NotFound()
        return row


def _is_fresh(row: Integration, now: datetime) -> bool:
    """Whether somebody else has just refreshed it, so that many who ask at once are one request."""
    if row.token_version == 1 or row.refresh_failures or row.last_refresh_at is None:
        return False
    return row.last_refresh_at > now - JUST_NOW


Testing = Annotated[TrialService, Depends()]
