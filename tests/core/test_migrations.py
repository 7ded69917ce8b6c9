"""Migrations run from code: from any directory, one replica at a time, and never behind a long lock."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from alembic import command
from alembic.operations.ops import DropTableOp, MigrationScript
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from app.core import migrations
from app.core.embedded import FAST, EmbeddedPostgres
from app.core.migrations import QUEUE_KEY, driver_url

names = (f"migrations_{number}" for number in count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A database server that no other test file uses, since these tests migrate whole databases."""
    running = EmbeddedPostgres(tmp_path_factory.mktemp("migrations") / "postgres", settings=FAST)
    running.start()
    yield running
    running.stop(force=True)


@pytest.fixture
def url(server: EmbeddedPostgres) -> str:
    """The address of a new, empty database."""
    name = next(names)
    server.create_database(name)
    return server.url(name)


@pytest.fixture
def engine(url: str) -> Engine:
    """Plain connections to that database, each closed when it is given back."""
    return create_engine(driver_url(url), poolclass=NullPool)


async def at_head(url: str) -> bool:
    """What the readiness probe would say about this database."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        return await migrations.is_at_head(connection)


def stamp(engine: Engine, revision: str) -> None:
    """Write a revision into the database as if its migrations had run."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


async def test_upgrade_reaches_the_head_when_called_from_another_directory(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not await at_head(url)
    migrations.upgrade(url)
    assert await at_head(url)
    assert migrations.current_heads(url) == migrations.code_heads()
    assert len(migrations.code_heads()) == 1


async def test_downgrade_empties_the_database_when_taken_to_base(url: str) -> None:
    migrations.upgrade(url)
    migrations.downgrade(url, "base")
    assert migrations.current_heads(url) == frozenset()
    assert not await at_head(url)


async def test_probe_says_no_when_the_database_is_a_migration_behind(url: str) -> None:
    migrations.upgrade(url)
    migrations.downgrade(url, "-1")
    assert len(migrations.current_heads(url)) == 1
    assert not await at_head(url)


async def test_probe_says_yes_when_a_newer_release_has_migrated(url: str, engine: Engine) -> None:
    migrations.upgrade(url)
    stamp(engine, "of-a-newer-release")
    assert await at_head(url)


def test_replicas_all_succeed_when_they_migrate_an_empty_database_at_once(url: str) -> None:
    program = "import sys; from app.core.migrations import upgrade; upgrade(sys.argv[1])"
    replicas = [
        subprocess.Popen([sys.executable, "-c", program, url], cwd=migrations.ROOT, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outcomes = [(replica.communicate(timeout=240)[1].decode(), replica.returncode) for replica in replicas]
    assert outcomes == [("", 0)] * 3
    assert migrations.current_heads(url) == migrations.code_heads()


def test_waiting_replica_lets_an_index_be_built_concurrently_when_it_queues(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE goods (id int)"))
    arrived = threading.Event()
    with engine.connect() as first:
        migrations.queue(first)
        second = threading.Thread(target=wait_in_queue, args=(engine, arrived), daemon=True)
        second.start()
        time.sleep(0.3)
        assert not arrived.is_set()
        build(first)
        assert not arrived.is_set()
    second.join(timeout=60)
    assert arrived.is_set()


def wait_in_queue(engine: Engine, arrived: threading.Event) -> None:
    """What a second replica does while the first migrates."""
    with engine.connect() as connection:
        migrations.queue(connection)
        arrived.set()


def build(connection: Connection) -> None:
    """Build an index without a transaction; fails after 30 seconds if a waiter's snapshot is in the way."""
    direct = connection.execution_options(isolation_level="AUTOCOMMIT")
    direct.execute(text("SET statement_timeout = '30s'"))
    direct.execute(text("CREATE INDEX CONCURRENTLY goods_id ON goods (id)"))


def test_queue_gives_up_when_the_other_never_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "QUEUE_SECONDS", 0.2)
    with engine.connect() as first, engine.connect() as second:
        migrations.queue(first)
        with pytest.raises(TimeoutError, match="Another process"):
            migrations.queue(second)


def test_migration_gives_up_when_a_table_stays_locked(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.upgrade(url)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrations.downgrade(url, "base")
    assert migrations.current_heads(url) == migrations.code_heads()


def test_lock_is_free_again_when_a_migration_has_failed(url: str, engine: Engine) -> None:
    migrations.upgrade(url)
    stamp(engine, "unknown")
    with pytest.raises(CommandError):
        migrations.upgrade(url)
    with engine.connect() as connection:
        held = connection.scalar(text("SELECT count(*) FROM pg_locks WHERE objid = :key"), {"key": QUEUE_KEY})
    assert held == 0


def test_given_connection_keeps_its_transaction_when_it_is_migrated(url: str, engine: Engine) -> None:
    config = migrations.alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) in migrations.code_heads()
        connection.rollback()
    assert migrations.current_heads(url) == frozenset()


def test_comparison_passes_over_the_tables_of_the_job_queue(url: str, engine: Engine) -> None:
    migrations.upgrade(url)
    before = differences(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE procrastinate_extra (id int)"))
        connection.execute(text("CREATE TABLE stray (id int)"))
    assert differences(url) - before == {"stray"}


def differences(url: str) -> set[str]:
    """The tables that autogeneration would drop since no model has them."""
    found: set[str] = set()

    def collect(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
        operations = directives[0].upgrade_ops_list[0].ops
        found.update(operation.table_name for operation in operations if isinstance(operation, DropTableOp))
        directives.clear()

    command.revision(
        migrations.alembic_config(url), "compare", autogenerate=True, process_revision_directives=collect
    )
    return found


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql://u:p%40@db/x", "postgresql+psycopg://u:p%40@db/x"),
        ("postgresql+asyncpg://db/x?ssl=require", "postgresql+psycopg://db/x?sslmode=require"),
        ("postgresql+asyncpg://u@/x?host=/run/pg", "postgresql+psycopg://u@/x?host=%2Frun%2Fpg"),
    ],
)
def test_address_is_read_by_psycopg_when_another_driver_is_named(given: str, wanted: str) -> None:
    assert driver_url(given).render_as_string(hide_password=False) == wanted
