"""The jobs of usage: reservations that nobody ended go back, and old events are forgotten."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.billing.usage_upkeep import prune_events, release_expired

BATCH = 1000


@job("billing.release_expired_usage", queue="default", cron="*/5 * * * *")
async def release_expired_usage(database: Database) -> None:
    """Every five minutes: quota that dead workers had set aside is there again."""
    await release_expired(database)


@job("billing.prune_usage_events", queue="maintenance", cron="40 3 * * *")
async def prune_usage_events(database: Database) -> None:
    """Daily: events of usage that are older than 400 days."""
    pruned = BATCH
    while pruned == BATCH:
        async with database.transaction() as session:
            pruned = await prune_events(session, BATCH)
