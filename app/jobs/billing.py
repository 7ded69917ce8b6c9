"""Billing in the background: grace that is over, pages that are too old, prices that differ at Stripe."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.billing.paying.catalog import check_catalog
from app.services.billing.paying.upkeep import close_checkouts, is_configured, tell_grace_over


@job("check_access", queue="maintenance", cron="20 0 * * *")
async def check_access(database: Database) -> None:
    """Daily: subscriptions whose grace was over since yesterday's run."""
    async with database.transaction() as session:
        await tell_grace_over(session)


@job("close_checkouts", queue="maintenance", cron="15 * * * *")
async def close_old_checkouts(database: Database) -> None:
    """Hourly: pages whose time is over."""
    async with database.transaction() as session:
        await close_checkouts(session)


@job("check_stripe_catalog", queue="maintenance", cron="5 * * * *")
async def check_stripe_catalog(database: Database) -> None:
    """Hourly, and when a worker starts: every price that is asked is the same at Stripe, or is not sold."""
    if is_configured():
        await check_catalog(database)
