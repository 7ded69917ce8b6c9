"""The job library's schema in our migrations: whole, of the installed version, without its notifying."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager
from sqlalchemy import text

from app.core import migrations
from app.core.database import Database, SystemSession
from app.jobs.app import libpq
from tests.support.cluster import Cluster

TRIGGERS = text(
    "SELECT tgname FROM pg_trigger WHERE tgrelid = 'procrastinate_jobs'::regclass AND NOT tgisinternal"
)
COMMENT = text("SELECT obj_description('procrastinate_jobs'::regclass, 'pg_class')")
TAKE = text("SELECT id FROM procrastinate_fetch_job_v2(ARRAY['events', 'mail'], NULL)")
BURST = text(
    "INSERT INTO procrastinate_jobs (queue_name, task_name)"
    " SELECT 'events', 'none' FROM generate_series(1, 500)"
)
ROWS_READ = text(
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'procrastinate_jobs'"
)
LEFT_OVER = r"""
SELECT relname FROM pg_class WHERE relname ~ '^(procrastinate|event|idempotency)_'
UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^(procrastinate_|sequence_events)'
UNION ALL SELECT typname FROM pg_type WHERE typname ~ '^_?procrastinate_'
"""


async def test_insert_notifies_nobody_when_the_schema_is_ours(db: SystemSession) -> None:
    triggers = set(await db.scalars(TRIGGERS))
    assert "procrastinate_jobs_notify_queue_job_inserted_v1" not in triggers
    assert "procrastinate_jobs_notify_queue_job_aborted_v1" in triggers


async def test_schema_is_that_of_the_installed_library_when_the_lock_is_upgraded(db: SystemSession) -> None:
    newest = max(path.stem for path in Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    assert await db.scalar(COMMENT) == f"schema {newest}", "the library needs a migration of ours"


@pytest.mark.commits
async def test_job_is_taken_without_reading_the_others_when_they_came_in_a_burst(database: Database) -> None:
    """The table was known to be empty when the worker began, and nobody has counted its rows since."""
    async with database.engine.connect() as connection:
        worker = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await worker.execute(text("VACUUM ANALYZE procrastinate_jobs"))
        for _ in range(10):
            await worker.execute(TAKE)
        await worker.execute(BURST)
    async with database.engine.connect() as same:
        before = (await same.execute(ROWS_READ)).scalar_one()
        assert (await same.execute(TAKE)).scalar_one() is not None
        assert (await same.execute(ROWS_READ)).scalar_one() - before < 20


async def test_downgrade_leaves_nothing_of_jobs_and_events(cluster: Cluster, worker_name: str) -> None:
    name = f"jobs_schema_{worker_name}"
    await cluster.drop(name)
    await asyncio.to_thread(cluster.server.create_database, name)
    url = cluster.url(name)
    await asyncio.to_thread(migrations.upgrade, url, "events")
    with psycopg.connect(libpq(url)) as connection:
        assert len(connection.execute(LEFT_OVER).fetchall()) > 30
    await asyncio.to_thread(migrations.downgrade, url, "accounts")
    with psycopg.connect(libpq(url)) as connection:
        assert connection.execute(LEFT_OVER).fetchall() == []
    await cluster.drop(name)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql+asyncpg://postgres@/db?host=/dir", "user=postgres dbname=db host=/dir"),
        ("postgresql://u:p%40%20s@db:5433/x", r"host=db dbname=x user=u password='p@ s' port=5433"),
        ("postgresql+asyncpg://db/x?ssl=require", "host=db dbname=x sslmode=require"),
        ("postgresql+asyncpg://db/x?prepared_statement_cache_size=0", "host=db dbname=x"),
        ("postgresql://u@/x?host=a:1&host=b:2", "user=u dbname=x host=a,b port=1,2"),
    ],
)
def test_address_is_read_by_libpq_when_it_was_written_for_another_driver(given: str, wanted: str) -> None:
    assert psycopg.conninfo.conninfo_to_dict(libpq(given)) == psycopg.conninfo.conninfo_to_dict(wanted)


async def test_address_of_the_embedded_server_connects_when_converted(cluster: Cluster) -> None:
    async with await psycopg.AsyncConnection.connect(libpq(cluster.url("postgres"))) as connection:
        assert await (await connection.execute("SELECT current_database()")).fetchone() == ("postgres",)
