"""The job that moves sealed values to the newest key of the ring."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.auth.resealing import reseal_accounts


@job("keys.reseal", queue="maintenance", cron="7 4 * * *")
async def reseal(database: Database) -> None:
    """Nightly: secrets of second factors and keys of sessions that an older key sealed."""
    await reseal_accounts(database)
