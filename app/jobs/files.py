"""Stored files in the background: objects without a row go, and store, rows and usage are compared."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.files import collecting


@job("files.collect_garbage", queue="maintenance", cron="*/10 * * * *")
async def collect_garbage(database: Database) -> None:
    """Every ten minutes: delete objects that no row has any more."""
    await collecting.collect_garbage(database)


@job("files.verify", queue="maintenance", cron="0 3 * * 0")
async def verify(database: Database) -> None:
    """On Sundays: find objects that nobody knows, and files whose object is missing."""
    await collecting.verify(database)


@job("files.recount", queue="maintenance", cron="30 2 * * *")
async def recount(database: Database) -> None:
    """Daily: correct the usage of organisations."""
    await collecting.recount(database)
