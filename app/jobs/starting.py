"""The jobs that every worker asks for when it begins to work."""

from app.core.database import Database
from app.jobs.queue import defer

AT_START = ("check_stripe_catalog",)
"""What is not left to wait for its hour: a deployment may have brought other prices, or another key."""


async def ask_at_start(database: Database) -> None:
    """Queue them, unless they wait already."""
    async with database.transaction() as session:
        for name in AT_START:
            await defer(session, name, queueing_lock=name)
