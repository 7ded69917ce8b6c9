"""The nightly jobs that clear away what sign-ins and second factors leave behind."""

from app.core import clock
from app.core.database import Database
from app.jobs.queue import job
from app.services.auth.two_factor.pruning import prune_failures, prune_second_factors


@job("mfa.prune", queue="maintenance", cron="47 3 * * *")
async def prune(database: Database) -> None:
    """Nightly: sign-ins that stopped at the second factor, and authenticators that were never confirmed."""
    await prune_second_factors(database, clock.now())


@job("throttles.prune", queue="maintenance", cron="52 3 * * *")
async def prune_throttles(database: Database) -> None:
    """Nightly: failures in a row that are a day old and count no more."""
    await prune_failures(database, clock.now())
