"""What Alembic runs around migrations: the connection, the queue of replicas and the lock timeout."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine

import app.models.registry  # noqa: F401 - fills Base.metadata with every area's tables
from app.core.config import get_settings
from app.core.migrations import LOCK_TIMEOUT, driver_url, queue
from app.models.base import Base


def configured_url() -> str:
    """The caller's address, else that of the settings, past a pooler: the queue belongs to a connection."""
    settings = get_settings()
    url = context.config.attributes.get("url") or settings.database_listen_url or settings.database_url
    if not url:
        raise CommandError("DATABASE_URL is not set; `python -m app migrate` serves the embedded database")
    return str(url)


@contextmanager
def connected() -> Iterator[Connection]:
    """A new connection that has waited for its turn, or the caller's own, in the caller's transaction."""
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        given.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        yield given
        return
    engine = create_engine(driver_url(configured_url()), poolclass=NullPool)
    with engine.connect() as connection:
        queue(connection)
        with connection.begin():
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        yield connection


def include_name(name: str | None, type_: str, parent_names: object) -> bool:  # noqa: ARG001 - as Alembic calls it
    """Whether autogeneration compares this object: not the tables of Procrastinate, which are its own."""
    return not (type_ == "table" and name is not None and name.startswith("procrastinate_"))


def run() -> None:
    """Run the migrations, each in a transaction of its own, so that a late failure keeps the earlier ones."""
    if context.is_offline_mode():
        raise CommandError("Migrations are run against a database; SQL scripts are not written")
    with connected() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_name=include_name,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
