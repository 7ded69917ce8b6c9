"""`python -m app migrate`: the database's schema, up and down."""

import argparse

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from app.cli.saying import report, say
from app.core import logging, migrations
from app.core.config import get_settings
from app.core.runtime import running_database


def run(arguments: argparse.Namespace) -> int:
    """Migrate; answers the exit code."""
    settings = get_settings()
    logging.configure(settings)
    with running_database(settings) as found:
        url = settings.database_listen_url or found
        if arguments.down is not None:
            migrations.downgrade(url, arguments.down)
        else:
            migrations.upgrade(url, arguments.to)
        heads = ", ".join(sorted(migrations.current_heads(url)))
    say(f"The database is at {heads or 'base: it is empty'}.")
    return 0


def bring_up_to_date(found: str) -> None:
    """Run the migrations that are missing, and say so when there are any."""
    url = get_settings().database_listen_url or found
    before = migrations.current_heads(url)
    if before == migrations.code_heads():
        return
    report("Migrating the database" if before else "Making the tables")
    migrations.upgrade(url)


async def is_behind(url: str) -> bool:
    """Whether the database lacks migrations of this code. No, while it is away: the service waits for it."""
    engine = create_async_engine(migrations.driver_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            return not await migrations.is_at_head(connection)
    except (OSError, DBAPIError) as error:
        report(f"The database does not answer yet: {type(error).__name__}")
        return False
    finally:
        await engine.dispose()
