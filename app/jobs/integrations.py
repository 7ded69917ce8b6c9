"""API keys in the background: notices before they expire, and the end of overlaps."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.integrations.expiring import tell_expiring
from app.services.integrations.revoking import end_graces

BATCH = 500


@job("api_keys.expiring", queue="maintenance", cron="20 6 * * *")
async def tell_of_expiring_keys(database: Database) -> None:
    """Daily: 14, 7 and 1 days before a key expires."""
    async with database.transaction() as session:
        await tell_expiring(session)


@job("api_keys.sweep", queue="maintenance", cron="50 2 * * *")
async def end_overlaps(database: Database) -> None:
    """Nightly: keys whose overlap with a newer one is over, which the access check refuses anyway."""
    ended = BATCH
    while ended == BATCH:
        async with database.transaction() as session:
            ended = await end_graces(session, limit=BATCH)
