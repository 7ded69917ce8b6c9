"""Gives grants back to services that are no longer needed: five tries, then they end by themselves."""

import json
from datetime import timedelta
from uuid import UUID

import structlog

from app.clients.connections import ServiceDown, ServiceRefused
from app.clients.connections.registry import sharing_grants
from app.core.crypto import SealBroken
from app.core.database import Database, ScopedSession
from app.core.errors import Unavailable
from app.core.ids import uuid7
from app.models.integrations import IntegrationRevocation
from app.repositories.integrations.authorizing import RevocationRepository
from app.repositories.integrations.connections import IntegrationRepository
from app.services.integrations.connections.providers import oauth_service
from app.services.integrations.connections.sealed import REVOCATION, opened, sealed

logger = structlog.get_logger(__name__)

PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(minutes=1),
)
"""How long after each try the next one is due; the last is for a worker that dies in the fifth."""

MOST_TRIES = len(PAUSES)
BATCH = 50


async def keep_for_revocation(
    session: ScopedSession, integration_id: UUID, service: str, kept: str, *, account_id: str
) -> UUID:
    """Note in the caller's transaction, which sees every row, what is to be revoked; answers its id."""
    row_id = uuid7()
    content = json.dumps({"kept": kept, "account_id": account_id})
    await RevocationRepository(session).add(
        IntegrationRevocation(
            id=row_id,
            integration_id=integration_id,
            service=service,
            token_sealed=sealed(REVOCATION, row_id, content),
            next_attempt_at=await session.now(),
        )
    )
    return row_id


async def waiting_revocations(session: ScopedSession, integration_id: UUID) -> list[UUID]:
    """What is to be revoked of a connection."""
    return list(await RevocationRepository(session).of_integration(integration_id))


async def revoke(database: Database, revocation_id: UUID) -> None:
    """Try one that is due, once. What a service does not know any more is revoked.

    A grant that another connection lives by, in whatever organisation, is left alone: services end all that
    they granted for an account at once.
    """
    async with database.transaction() as session:
        now = await session.now()
        row = await RevocationRepository(session).claim(revocation_id, now, until=now + PAUSES[0])
        if row is None:
            return
        if row.attempts <= MOST_TRIES:
            row.next_attempt_at = now + PAUSES[row.attempts - 1]
    if row.attempts <= MOST_TRIES and not await _is_done(database, row) and row.attempts < MOST_TRIES:
        return
    async with database.transaction() as session:
        await RevocationRepository(session).forget(revocation_id)


async def revoke_due(database: Database) -> None:
    """Try everything that is due: what was given up by a worker that died, and what failed before."""
    async with database.transaction() as session:
        due = await RevocationRepository(session).due(await session.now(), limit=BATCH)
    for revocation_id in due:
        await revoke(database, revocation_id)


async def _is_done(database: Database, row: IntegrationRevocation) -> bool:
    """Ask the service to revoke; whether there is nothing left to try."""
    try:
        content = json.loads(opened(REVOCATION, row.id, row.token_sealed))
        async with database.transaction() as session:
            repository = IntegrationRepository(session)
            if await repository.is_alive_anywhere(sharing_grants(row.service), content["account_id"]):
                return True
        await oauth_service(row.service, shop=content["account_id"]).revoke(content["kept"])
    except SealBroken:
        logger.error("sealed_value_unreadable", column=REVOCATION, row_id=str(row.id))
        return True
    except (ServiceDown, ServiceRefused, Unavailable) as error:
        logger.warning(
            "integration_revocation_failed", service=row.service, attempts=row.attempts, reason=error.code
        )
        return False
    return True
