"""The job of the second factor."""

from app.core import clock
from app.core.database import Database
from app.jobs.queue import job
from app.services.auth.two_factor.pruning import prune_second_factors


@job("mfa.prune", queue="maintenance", cron="47 3 * * *")
async def prune(database: Database) -> None:
    """Nightly: sign-ins that stopped at the second factor, and authenticators that were never confirmed."""
    await prune_second_factors(database, clock.now())
