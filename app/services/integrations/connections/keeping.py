"""Connections as people keep them: listing, looking, naming, settings, and the log."""

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from pydantic import TypeAdapter

from app.clients.connections.registry import OAUTH, SERVICES
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.paging import Keyset, Page, Pager, Sort
from app.models.integrations import Integration, IntegrationLog
from app.repositories.integrations.connections import IntegrationLogRepository, IntegrationRepository
from app.schemas.integrations.connections import (
    AuthMode,
    IntegrationLogQuery,
    IntegrationLogRead,
    IntegrationPage,
    IntegrationQuery,
    IntegrationRead,
    IntegrationUpdate,
    ServiceRead,
)
from app.services.integrations.connections.providers import is_configured

AUTH_MODE: TypeAdapter[AuthMode] = TypeAdapter(AuthMode)

PAGER = Pager(
    "integrations",
    Keyset(Integration.created_at, Integration.id),
    {"-created_at": Sort(Integration.created_at, True, has_cursor=True)},
)

LOG_PAGER = Pager(
    "integration_logs",
    Keyset(IntegrationLog.created_at, IntegrationLog.id),
    {"-created_at": Sort(IntegrationLog.created_at, True, has_cursor=True)},
)


class IntegrationService:
    """What a team sees and says of its connections."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.integrations = IntegrationRepository(session)

    async def list(self, query: IntegrationQuery) -> IntegrationPage:
        """A page of connections, newest first, with what can be connected."""
        statement = self.integrations.matching(service=query.service, status=query.status)
        rows = await PAGER.rows(self.session, statement, query, "-created_at")
        return IntegrationPage(
            items=[IntegrationRead.model_validate(row) for row in rows.items],
            next_cursor=rows.next_cursor,
            total=rows.total,
            available=[_described(name) for name in SERVICES],
        )

    async def get(self, integration_id: UUID) -> IntegrationRead:
        """One connection. 404."""
        return IntegrationRead.model_validate(await self._found(integration_id))

    async def update(self, integration_id: UUID, body: IntegrationUpdate) -> IntegrationRead:
        """Change what was sent. 404; 422 `invalid_config`."""
        row = await self._found(integration_id, lock=True)
        changes = {name: value for name, value in body.changes().items() if value is not None}
        if "config" in changes:
            _judge_config(row.service, changes["config"])
        changed = {name: value for name, value in changes.items() if value != getattr(row, name)}
        if changed:
            row = await self.integrations.change(row.organization_id, row.id, changed)
        return IntegrationRead.model_validate(row)

    async def logs(self, integration_id: UUID, query: IntegrationLogQuery) -> Page[IntegrationLogRead]:
        """A page of a connection's log, newest first. 404."""
        await self._found(integration_id)
        statement = IntegrationLogRepository(self.session).of_integration(integration_id, kind=query.kind)
        rows = await LOG_PAGER.rows(self.session, statement, query, "-created_at")
        return Page[IntegrationLogRead].model_validate(rows.map(IntegrationLogRead.model_validate))

    async def _found(self, integration_id: UUID, *, lock: bool = False) -> Integration:
        row = await self.integrations.get(integration_id, lock=lock)
        if row is None:
            raise NotFound()
        return row


def _described(name: str) -> ServiceRead:
    service = SERVICES[name]
    return ServiceRead(
        service=name,
        auth_mode=AUTH_MODE.validate_python(service.auth_mode),
        is_configured=is_configured(name),
        scopes=sorted(OAUTH[name].allowed_scopes) if name in OAUTH else [],
        params=list(service.params),
    )


def _judge_config(service: str, config: dict[str, Any]) -> None:
    """422 `invalid_config` for settings that a service does not have, or values that they do not take."""
    known = SERVICES[service].config if service in SERVICES else {}
    for name, value in config.items():
        if name not in known or not isinstance(value, str) or re.fullmatch(known[name], value) is None:
            named = ", ".join(known) or "none"
            detail = f"Settings of this service are: {named}; give each as the service names it."
            raise Invalid("invalid_config", detail, errors=[FieldError("/config", "invalid_config", detail)])


Integrations = Annotated[IntegrationService, Depends()]
