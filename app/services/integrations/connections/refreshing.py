"""Keeps tokens good: one refresh for however many need one, and never the loss of a grant that is alive."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.clients.connections import Grant, ServiceDown, ServiceRefused
from app.core.access import Principal
from app.core.crypto import SealBroken
from app.core.database import Database, SystemSession
from app.core.errors import AppError, Conflict, NotFound, Unavailable
from app.core.events import emit
from app.models.integrations import Integration
from app.repositories.integrations.connections import ALIVE, IntegrationRepository
from app.services.integrations.connections.events import IntegrationNeedsReauth
from app.services.integrations.connections.providers import service_of
from app.services.integrations.connections.sealed import ACCESS, REFRESH, access_token, refresh_token, sealed
from app.services.integrations.connections.wording import failing, well
from app.services.integrations.connections.writing import next_refresh, note

logger = structlog.get_logger(__name__)

LEAST_LEFT = timedelta(minutes=5)
"""Whoever needs a token with less time than this gets a new one."""

LEASE = timedelta(seconds=60)
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.2
FIRST_BACK_OFF, LONGEST_BACK_OFF = timedelta(minutes=1), timedelta(hours=1)
TOLD_AT = "told_at"
"""The member of `metadata` that says when people were told last that the grant is gone."""

TOLD_EVERY = timedelta(hours=24)

BATCH = 100
JOB_SECONDS = 240.0
"""After so long the job leaves the rest to the next one, which begins every five minutes."""

ACTOR = Principal(kind="system", name="integrations")

NO_LEASE = {"refresh_lease_until": None, "refresh_lease_by": None}


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An access token that is good now, and the connection as it was when it was read."""

    value: str
    row: Integration


async def usable_token(
    database: Database, organization_id: UUID, integration_id: UUID, *, stale_version: int | None = None
) -> UsableToken:
    """The access token of a connection, refreshed if that is due; for callers without an open transaction.

    `stale_version` is the version of a token that a service has just refused. 404; 409 `not_connected`,
    `reauthorization_required`; 503 `provider_unavailable`.
    """
    until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found, now = await _read(database, organization_id, integration_id)
        row = _alive(found)
        if not _needs_refresh(row, now, stale_version):
            return await _opened(database, row)
        is_asked_for = row.token_version == stale_version
        if _backs_off(row, now) and not is_asked_for:
            if row.token_expires_at is not None and row.token_expires_at > now:
                return await _opened(database, row)
            raise _unavailable()
        leased = await take_lease(database, row)
        if leased is not None:
            renewed = await renew(database, leased)
            if renewed is not None:
                return renewed
        if asyncio.get_running_loop().time() >= until:
            raise _unavailable()
        await asyncio.sleep(PAUSE_SECONDS)


async def take_lease(database: Database, row: Integration) -> Integration | None:
    """The right to refresh the tokens of `row`, for a minute; None while somebody else has it."""
    async with database.transaction() as session:
        now = await session.now()
        return await IntegrationRepository(session).lease(
            row, now=now, until=now + LEASE, holder=secrets.token_hex(16)
        )


async def renew(database: Database, leased: Integration) -> UsableToken | None:
    """Refresh with the tokens that the lease is about, and store the new pair unless somebody else did.

    None when somebody else is at it, or was faster; then the connection is to be read again. 409
    `reauthorization_required`; 503 `provider_unavailable`, `integration_not_configured`.
    """
    started = time.monotonic()
    try:
        grant = await _ask(leased)
    except SealBroken:
        await _end(database, leased, "key_unavailable", started)
        return None
    except Unavailable:
        # The operator has taken the client away; the grant may be good again when it is back.
        await _put_off(database, leased, "provider_unavailable", started, None)
        raise
    except ServiceDown as down:
        await _put_off(database, leased, down.code, started, down.status, down.retry_after_s)
        raise _unavailable() from None
    except ServiceRefused as refusal:
        if refusal.is_grant_gone:
            await _end(database, leased, "refresh_rejected", started, refusal.status)
            return None
        await _put_off(database, leased, "refresh_rejected", started, refusal.status)
        raise _unavailable() from None
    stored = await _store(database, leased, grant, started)
    return None if stored is None else UsableToken(grant.access_token, stored)


async def _ask(leased: Integration) -> Grant:
    token = refresh_token(leased)
    if token is None:
        raise ServiceRefused("refresh_rejected", "no_refresh_token", is_grant_gone=True)
    return await service_of(leased).refresh(token)


async def refresh_due(database: Database) -> None:
    """Refresh what expires soon, or was not refreshed for a day; what fails is put off by itself."""
    async with database.transaction() as session:
        due = await IntegrationRepository(session).due(await session.now(), limit=BATCH)
    until = asyncio.get_running_loop().time() + JOB_SECONDS
    for organization_id, integration_id in due:
        if asyncio.get_running_loop().time() >= until:
            return
        row, _ = await _read(database, organization_id, integration_id)
        leased = await take_lease(database, row) if row is not None and row.status in ALIVE else None
        if leased is None:
            continue
        try:
            await renew(database, leased)
        except AppError as error:
            logger.warning("integration_refresh_failed", service=leased.service, code=error.code)


async def mark_lost(database: Database, row: Integration, code: str) -> Integration | None:
    """Note that a grant is gone, unless its tokens have moved since `row` was read; tells of it."""
    async with database.transaction(principal=ACTOR) as session:
        changed = await IntegrationRepository(session).change_version(row, _lost(code))
        if changed is not None:
            await _tell(session, changed)
        return changed


def reauthorization_required() -> Conflict:
    """409: only a person can help, by connecting again."""
    return Conflict("reauthorization_required", "The grant has ended; connect the service again.")


async def _read(
    database: Database, organization_id: UUID, integration_id: UUID
) -> tuple[Integration | None, datetime]:
    async with database.transaction() as session:
        row = await IntegrationRepository(session).find(organization_id, integration_id)
        return row, await session.now()


def _alive(row: Integration | None) -> Integration:
    if row is None:
        raise NotFound()
    if row.status == "disconnected":
        raise Conflict("not_connected", "This connection was ended; connect the service again.")
    if row.status == "needs_reauth":
        raise reauthorization_required()
    return row


def _needs_refresh(row: Integration, now: datetime, stale_version: int | None) -> bool:
    if row.token_version == stale_version:
        return True
    if row.token_expires_at is None:
        return False
    left = row.token_expires_at - now
    return left <= timedelta() if row.refresh_token_sealed is None else left < LEAST_LEFT


def _backs_off(row: Integration, now: datetime) -> bool:
    """Whether the last refresh failed, and the next one is not due."""
    return row.refresh_failures > 0 and row.next_refresh_at is not None and row.next_refresh_at > now


async def _opened(database: Database, row: Integration) -> UsableToken:
    try:
        value = access_token(row)
    except SealBroken:
        await mark_lost(database, row, "key_unavailable")
        raise reauthorization_required() from None
    if value is None:
        raise Conflict("not_connected", "This connection has no credentials of its own.")
    return UsableToken(value, row)


async def _store(database: Database, leased: Integration, grant: Grant, started: float) -> Integration | None:
    async with database.transaction() as session:
        now = await session.now()
        expires_at = None if grant.expires_in is None else now + timedelta(seconds=grant.expires_in)
        values = {
            **NO_LEASE,
            **well(leased),
            "status": "connected",
            "access_token_sealed": sealed(ACCESS, leased.id, grant.access_token),
            "token_type": grant.token_type or leased.token_type,
            "token_expires_at": expires_at,
            "token_version": leased.token_version + 1,
            "refresh_failures": 0,
            "last_refresh_at": now,
            "next_refresh_at": next_refresh(now, expires_at),
        }
        if grant.refresh_token is not None:
            values["refresh_token_sealed"] = sealed(REFRESH, leased.id, grant.refresh_token)
        stored = await IntegrationRepository(session).change_version(leased, values)
        if stored is not None:
            await note(session, stored, "refresh", duration_ms=_since(started))
        return stored


async def _end(
    database: Database, leased: Integration, code: str, started: float, http_status: int | None = None
) -> None:
    """Note that the grant is gone, if nobody refreshed it meanwhile or is about to; 409 if so."""
    async with database.transaction(principal=ACTOR) as session:
        repository = IntegrationRepository(session)
        changed = await repository.change_version(leased, _lost(code), holder=leased.refresh_lease_by)
        if changed is None:
            return
        await note(
            session, changed, "refresh", duration_ms=_since(started), http_status=http_status, error_code=code
        )
        await _tell(session, changed)
    raise reauthorization_required()


async def _put_off(
    database: Database,
    leased: Integration,
    code: str,
    started: float,
    http_status: int | None,
    retry_after_s: int | None = None,
) -> None:
    """Keep the tokens, give the lease back and say when to try again."""
    pause = min(FIRST_BACK_OFF * 2 ** min(leased.refresh_failures, 10), LONGEST_BACK_OFF)
    if retry_after_s is not None:
        pause = max(pause, min(timedelta(seconds=retry_after_s), LONGEST_BACK_OFF))
    async with database.transaction() as session:
        values = {
            **NO_LEASE,
            **failing(code),
            "status": "error",
            "refresh_failures": leased.refresh_failures + 1,
            "next_refresh_at": await session.now() + pause,
        }
        repository = IntegrationRepository(session)
        changed = await repository.change_version(leased, values, holder=leased.refresh_lease_by)
        if changed is not None:
            await note(
                session,
                changed,
                "refresh",
                duration_ms=_since(started),
                http_status=http_status,
                error_code=code,
            )


async def _tell(session: SystemSession, row: Integration) -> None:
    """Tell that a grant is gone; in private, whether that is news to people, who hear of it once a day."""
    now = await session.now()
    told_at = row.details.get(TOLD_AT)
    is_news = told_at is None or datetime.fromisoformat(told_at) <= now - TOLD_EVERY
    if is_news:
        details = {**row.details, TOLD_AT: now.isoformat()}
        row = await IntegrationRepository(session).change(row.organization_id, row.id, {"details": details})
    await emit(
        session,
        IntegrationNeedsReauth.of(row),
        organization_id=row.organization_id,
        private={"is_news": is_news},
    )


def _lost(code: str) -> dict[str, object]:
    return {**NO_LEASE, **failing(code), "status": "needs_reauth", "next_refresh_at": None}


def _unavailable() -> Unavailable:
    return Unavailable(
        "provider_unavailable",
        "The service does not answer; try again later.",
        headers={"Retry-After": "30"},
    )


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
