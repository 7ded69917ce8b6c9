"""Migrations from code: up, down, where a database stands, and the queue of replicas that migrate at once."""

import argparse
import logging
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool, create_engine, func, make_url, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.embedded import FAST, EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]

QUEUE_KEY = 5002
"""The advisory lock that whoever migrates a database holds."""

QUEUE_SECONDS = 900.0
"""How long a replica waits for the one that migrates before it gives up."""

LOCK_TIMEOUT = "5s"
"""How long a migration waits for a table. Longer, and every query behind it waits as well."""

log = logging.getLogger(__name__)

# Alembic keeps the running environment in module globals, so one process migrates one database at a time.
_one_at_a_time = threading.Lock()


def alembic_config(url: str | URL | None = None) -> Config:
    """Alembic's configuration for the database at `url`, or for that of the settings; from any directory."""
    config = Config(ROOT / "alembic.ini")
    if url is not None:
        config.attributes["url"] = _text(url)
    return config


def upgrade(url: str | URL, revision: str = "head") -> None:
    """Bring the database up to `revision`. Each migration is committed by itself, so a failure keeps others.

    Blocks, so call it from a thread when an event loop is running. Raises TimeoutError when another process
    has been migrating for QUEUE_SECONDS, and SQLAlchemy's OperationalError when a table stays locked for
    LOCK_TIMEOUT.
    """
    with _one_at_a_time:
        command.upgrade(alembic_config(url), revision)


def downgrade(url: str | URL, revision: str) -> None:
    """Take the database back to `revision`, `base` for an empty one. Waits and raises as `upgrade` does."""
    with _one_at_a_time:
        command.downgrade(alembic_config(url), revision)


def current_heads(url: str | URL) -> frozenset[str]:
    """The revisions at which the database stands; none when it was never migrated."""
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return _heads(connection)


@lru_cache(maxsize=1)
def code_heads() -> frozenset[str]:
    """The revisions that this code was written for, read once from the migrations' files."""
    return frozenset(_scripts().get_heads())


async def is_at_head(connection: AsyncConnection) -> bool:
    """Whether the database has every migration of this code.

    A revision that this code does not know counts too: a newer release migrates before the older replicas
    have left, and they must not all turn unready at that moment.
    """
    heads = await connection.run_sync(_heads)
    return heads == code_heads() or bool(heads - _known_revisions())


def queue(connection: Connection) -> None:
    """Wait until nobody else migrates this database; the turn lasts until the connection is closed.

    It asks again and again rather than waiting inside PostgreSQL: a statement that waits holds a snapshot,
    and CREATE INDEX CONCURRENTLY of the replica whose turn it is would wait for that snapshot for ever.
    Raises TimeoutError after QUEUE_SECONDS.
    """
    give_up = time.monotonic() + QUEUE_SECONDS
    has_said_so = False
    while not _try_lock(connection):
        if not has_said_so:
            log.info("Another process migrates this database; waiting for it")
            has_said_so = True
        if time.monotonic() > give_up:
            raise TimeoutError(f"Another process has been migrating for {QUEUE_SECONDS:.0f} seconds")
        time.sleep(0.1)


def driver_url(url: str | URL) -> URL:
    """The address for psycopg, which runs the migrations, whichever driver the given one names."""
    address = make_url(url).set(drivername="postgresql+psycopg")
    if "ssl" not in address.query:
        return address
    # asyncpg's name of the setting that libpq calls sslmode; the values are the same.
    return address.difference_update_query(["ssl"]).update_query_dict({"sslmode": address.query["ssl"]})


def write_migration(message: str) -> list[Path]:
    """Write the migration from the present head to the models, found on a scratch database; its files."""
    with tempfile.TemporaryDirectory(prefix="luneo-migration-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", settings=FAST)
        server.start()
        try:
            upgrade(server.url())
            written = command.revision(alembic_config(server.url()), message, autogenerate=True)
        finally:
            server.stop(force=True)
    scripts = written if isinstance(written, list) else [written]
    return [Path(script.path) for script in scripts if script is not None]


def _try_lock(connection: Connection) -> bool:
    with connection.begin():
        return bool(connection.scalar(select(func.pg_try_advisory_lock(QUEUE_KEY))))


def _heads(connection: Connection) -> frozenset[str]:
    return frozenset(MigrationContext.configure(connection).get_current_heads())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())


@lru_cache(maxsize=1)
def _known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _text(url: str | URL) -> str:
    return url.render_as_string(hide_password=False) if isinstance(url, URL) else url


def main() -> None:
    """Write a migration: `python -m app.core.migrations "add orders"`."""
    parser = argparse.ArgumentParser(prog="python -m app.core.migrations", description="Write a migration.")
    parser.add_argument("message", help="what it does, for example: add orders")
    write_migration(parser.parse_args().message)


if __name__ == "__main__":
    main()
