"""Owns how a connection is written: one row for each account, whoever connects it and however often."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.clients.connections import Account
from app.core.database import SystemSession
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.core.ids import uuid7
from app.models.integrations import Integration, IntegrationLog
from app.repositories.integrations.authorizing import RevocationRepository
from app.repositories.integrations.connections import IntegrationLogRepository, IntegrationRepository
from app.services.integrations.connections.events import IntegrationConnected
from app.services.integrations.connections.sealed import ACCESS, REFRESH, sealed
from app.services.integrations.connections.wording import OWNER_LEFT

EARLY = timedelta(minutes=15)
"""So long before a token expires the job refreshes it."""

IDLE = timedelta(hours=24)
"""A grant that nobody used for so long is refreshed, lest the service forgets it."""

LABEL = "label"
"""The member of `metadata` with the service's own label; people may put another in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a service has vouched for: an account, and the credentials of it."""

    service: str
    auth_mode: str
    account: Account
    scopes: Sequence[str] = ()
    access_token: str | None = None
    refresh_token: str | None = None
    token_type: str | None = None
    expires_in: int | None = None
    is_long_lived: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    duration_ms: int = 0


def next_refresh(now: datetime, expires_at: datetime | None) -> datetime:
    """When the job refreshes tokens that were got now."""
    idle = now + IDLE
    return idle if expires_at is None else max(now, min(expires_at - EARLY, idle))


async def write_connection(
    session: SystemSession, organization_id: UUID, user_id: UUID | None, proven: Proven, *, again: UUID | None
) -> Integration:
    """Write what was proven: into the row of that account if there is one, else into a new one.

    `again` is the connection that was to be connected again: 404 when it is gone, 409 `account_mismatch` when
    it is another account's.
    """
    repository = IntegrationRepository(session)
    await repository.lock_organization(organization_id)
    row = await _row_for(repository, organization_id, proven, again)
    now = await session.now()
    values = _values(row, proven, user_id, now)
    if row is None:
        row = await repository.add(
            Integration(
                organization_id=organization_id,
                service=proven.service,
                auth_mode=proven.auth_mode,
                external_account_id=proven.account.id,
                **values,
            )
        )
        await session.refresh(row)
    else:
        # What was to be revoked is what is connected now.
        await RevocationRepository(session).forget_of(row.id)
        row = await repository.change(organization_id, row.id, values)
    await note(session, row, "connect", duration_ms=proven.duration_ms)
    await emit(session, IntegrationConnected.of(row), organization_id=organization_id)
    return row


async def note(
    session: SystemSession,
    row: Integration,
    kind: str,
    *,
    duration_ms: int = 0,
    http_status: int | None = None,
    error_code: str | None = None,
) -> None:
    """Add to a connection's log what was done with it, and how it went."""
    await IntegrationLogRepository(session).add(
        IntegrationLog(
            organization_id=row.organization_id,
            id=uuid7(),
            integration_id=row.id,
            kind=kind,
            is_ok=error_code is None,
            http_status=http_status,
            error_code=error_code,
            duration_ms=duration_ms,
        )
    )


async def _row_for(
    repository: IntegrationRepository, organization_id: UUID, proven: Proven, again: UUID | None
) -> Integration | None:
    wanted = None
    if again is not None:
        wanted = await repository.find(organization_id, again, lock=True)
        if wanted is None:
            raise NotFound()
        if wanted.external_account_id != proven.account.id:
            raise Conflict(
                "account_mismatch",
                "Another account was approved than the one that was connected; approve that one.",
            )
    known = await repository.of_account(organization_id, proven.service, proven.account.id)
    is_live = known is not None and known.status != "disconnected"
    return known if is_live or wanted is None else wanted


def _values(row: Integration | None, proven: Proven, user_id: UUID | None, now: datetime) -> dict[str, Any]:
    row_id = row.id if row is not None else uuid7()
    expires_at = None if proven.expires_in is None else now + timedelta(seconds=proven.expires_in)
    before = dict(row.details) if row is not None else {}
    before.pop(OWNER_LEFT, None)
    has_own_label = row is not None and row.account_label != before.get(LABEL)
    refresh = None if proven.refresh_token is None else sealed(REFRESH, row_id, proven.refresh_token)
    if refresh is None and row is not None:
        # Some services give a refresh token with the first grant only, and mean it to stay.
        refresh = row.refresh_token_sealed
    is_refreshed = refresh is not None and not proven.is_long_lived
    return {
        **({} if row is not None else {"id": row_id}),
        "created_by": user_id,
        "status": "connected",
        "account_label": row.account_label if row is not None and has_own_label else proven.account.label,
        "scopes": list(proven.scopes),
        "access_token_sealed": (
            None if proven.access_token is None else sealed(ACCESS, row_id, proven.access_token)
        ),
        "refresh_token_sealed": refresh,
        "token_type": proven.token_type,
        "token_expires_at": expires_at,
        "token_version": row.token_version + 1 if row is not None else 1,
        "refresh_lease_until": None,
        "refresh_lease_by": None,
        "refresh_failures": 0,
        "last_refresh_at": now,
        "next_refresh_at": next_refresh(now, expires_at) if is_refreshed else None,
        "details": {**before, **proven.details, LABEL: proven.account.label},
        "error_code": None,
        "error_message": None,
        "disconnected_at": None,
    }
