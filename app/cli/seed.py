"""`python -m app seed`: demo data to look at and to sign in with."""

import argparse
import asyncio

from app.cli.migrate import bring_up_to_date
from app.cli.saying import complain, report, say
from app.core import logging
from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.runtime import running_database


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = verbs.add_parser(
        "seed",
        help="put demo data into the database",
        description="Put demo data into the database, which is migrated first; once, however often it is"
        " called. Not in production: the demo account's password is known to everybody.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Seed; answers the exit code."""
    settings = get_settings()
    logging.configure(settings)
    if settings.environment == "production":
        complain("demo data has a password that everybody knows; it is not for production.")
        return 2
    with running_database(settings) as url:
        bring_up_to_date(url)
        say(f"Demo sign-in: {put_demo_data(url)}")
    return 0


def put_demo_data(url: str) -> str:
    """Put demo data where there is none; answers how to sign in, as `address / password`."""
    return asyncio.run(_seed(url))


async def _seed(url: str) -> str:
    from app.demo import seed  # noqa: PLC0415 - imports every area, which other commands need not wait for

    database = Database(create_engine(url, application_name="luneo-seed"))
    try:
        summary = await seed(database, progress=report)
    finally:
        await database.dispose()
    return f"{summary.email} / {summary.password}"
