"""`python -m app seed`: demo data to look at and to sign in with."""

import argparse
import asyncio

from app.cli.migrate import bring_up_to_date
from app.cli.saying import complain, report, say
from app.core import logging
from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.runtime import running_database


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
    """Put demo data where there is none; answers how to sign in, as `address / password`.

    Ends the process when demo data cannot be made here.
    """
    return asyncio.run(_seed(url))


async def _seed(url: str) -> str:
    # These import every area; other commands need not wait for that.
    from app.demo import DemoRefused, seed  # noqa: PLC0415 - as above
    from app.jobs.sequencer import Sequencer  # noqa: PLC0415 - as above

    database = Database(create_engine(url, application_name="luneo-seed"))
    # Thousands of events would otherwise wait for the first worker, which is told to sound an alarm then.
    sequencer = Sequencer(url, pause=0.05)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sequencer.run())
            try:
                summary = await seed(database, progress=report)
            finally:
                sequencer.stop()
    except* DemoRefused as refusals:
        complain(str(refusals.exceptions[0]))
        raise SystemExit(1) from None
    finally:
        await database.dispose()
    return f"{summary.email} / {summary.password}"
