"""Connections in the background: tokens kept good, grants given back, what is over forgotten."""

from uuid import UUID

from app.core.database import Database, SystemSession
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import defer, job
from app.services.integrations.connections.pruning import forget_logs, forget_states
from app.services.integrations.connections.refreshing import refresh_due
from app.services.integrations.connections.revoking import revoke, revoke_due, waiting_revocations

BATCH = 5_000
"""Rows that one transaction deletes."""


@handler("revocations")
async def revoke_what_was_ended(session: SystemSession, event: EventRow) -> None:
    """A connection was ended: have its grant given back."""
    for revocation_id in await waiting_revocations(session, UUID(event.data["integration_id"])):
        await defer(session, "integrations.revoke", revocation_id=revocation_id)


@job("integrations.revoke", queue="default")
async def revoke_grant(database: Database, *, revocation_id: str) -> None:
    """The first try at once; the others are due later."""
    await revoke(database, UUID(revocation_id))


@job("integrations.revoke_due", queue="maintenance", cron="*/5 * * * *")
async def revoke_due_grants(database: Database) -> None:
    """Every five minutes: grants that could not be given back before."""
    await revoke_due(database)


@job("integrations.refresh_due", queue="maintenance", cron="*/5 * * * *")
async def refresh_due_tokens(database: Database) -> None:
    """Every five minutes: tokens that expire within a quarter of an hour, or were not refreshed for a day."""
    await refresh_due(database)


@job("integrations.prune", queue="maintenance", cron="23 * * * *")
async def prune_connections(database: Database) -> None:
    """Hourly: ways to services that are over, and logs older than 30 days."""
    for forget in (forget_states, forget_logs):
        forgotten = BATCH
        while forgotten >= BATCH:
            async with database.transaction() as session:
                forgotten = await forget(session, limit=BATCH)
