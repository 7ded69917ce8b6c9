"""Sign-in with other providers in the background: trips that are over are forgotten."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.auth.external.trips import forget_old_trips

BATCH = 5_000
"""Rows that one transaction deletes."""


@job("external_sign_ins.prune", queue="maintenance", cron="47 * * * *")
async def prune_trips(database: Database) -> None:
    """Hourly: trips a day after they have expired."""
    forgotten = BATCH
    while forgotten >= BATCH:
        async with database.transaction() as session:
            forgotten = await forget_old_trips(session, limit=BATCH)
