"""Single statements past the session: where their connections come from, and what becomes of their errors."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.access import SESSION_SQL, SessionRow
from app.core.database import Database, create_engine, row_criteria
from app.core.reads import PooledReads
from tests.support.cluster import TEMPLATE, Cluster
from tests.support.personas import Persona

POOL = 4


@pytest.fixture
async def pooled(cluster: Cluster, worker_name: str) -> AsyncIterator[Database]:
    """A database with a pool of its own, in which nothing is written."""
    name = f"luneo_{worker_name}_reads"
    database = Database(create_engine(await cluster.clone(name, TEMPLATE), pool_size=POOL))
    yield database
    await database.dispose()
    await cluster.drop(name)


async def pid(database: Database) -> int:
    """Which server process answers."""
    ((answer,),) = await database.reads.rows("SELECT pg_backend_pid()")
    return int(answer)


async def test_connection_when_statements_follow_each_other(pooled: Database) -> None:
    assert await pid(pooled) == await pid(pooled)
    # One is kept in hand, which the pool counts as taken.
    assert pooled.engine.pool.checkedout() == 1  # type: ignore[attr-defined]  # of the pool that engines have


async def test_connections_when_many_ask_at_once(pooled: Database) -> None:
    """Half of the pool at most, so that transactions always find a connection."""
    answers = await asyncio.gather(
        *(pooled.reads.rows("SELECT pg_backend_pid(), pg_sleep(0.02)") for _ in range(12))
    )
    assert len({answer[0][0] for answer in answers}) == POOL // 2
    assert pooled.engine.pool.checkedout() == POOL // 2  # type: ignore[attr-defined]  # as above
    async with pooled.system() as session:
        assert await session.fetch("SELECT 1") is not None


async def test_connections_when_the_pool_has_one(cluster: Cluster) -> None:
    """It is given back at once, so that a session finds it."""
    database = Database(create_engine(cluster.url(TEMPLATE), pool_size=1))
    assert (await database.reads.rows("SELECT 1"))[0][0] == 1
    async with database.system() as session:
        assert (await session.fetch("SELECT 2"))[0][0] == 2
    await database.dispose()


async def test_connection_when_its_server_process_is_gone(pooled: Database, cluster: Cluster) -> None:
    """The next statement finds another one, without an error."""
    gone = await pid(pooled)
    control = await asyncpg.connect(cluster.url("postgres").replace("+asyncpg", ""))
    try:
        await control.execute("SELECT pg_terminate_backend($1, 60000)", gone)
        assert await pid(pooled) != gone
        # Also when nobody has noticed yet: the process ends in the midst of a statement.
        asking = asyncio.create_task(pooled.reads.rows("SELECT pg_backend_pid(), pg_sleep(0.3)"))
        await asyncio.sleep(0.1)
        await control.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.3)'"
            " AND pid <> pg_backend_pid()"
        )
        assert (await asking)[0][0] != gone
    finally:
        await control.close()


async def test_connection_when_its_caller_gives_up(pooled: Database) -> None:
    """It is thrown away: nobody knows what is still on its way."""
    first = await pid(pooled)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pooled.reads.rows("SELECT pg_sleep(5)")
    assert await pid(pooled) != first


async def test_error_when_a_statement_fails(pooled: Database) -> None:
    """It is what a session raises, and the connection is good for the next statement."""
    first = await pid(pooled)
    with pytest.raises(DBAPIError) as raised:
        await pooled.reads.rows("SELECT 1 / $1::int", 0)
    assert isinstance(raised.value.orig, asyncpg.DivisionByZeroError)
    assert not raised.value.connection_invalidated
    assert await pid(pooled) == first


async def test_error_when_a_constraint_is_broken_in_a_transaction(pooled: Database) -> None:
    """Both ways of a transaction's statement raise the same kind of error."""
    broken = (
        "INSERT INTO document_counters (organization_id, kind, period, last_value) VALUES ($1, 'x', 'y', 0)"
    )
    for before in ((), ("SELECT 1",)):
        async with pooled.system() as session:
            for statement in before:
                await session.fetch(statement)
            with pytest.raises(IntegrityError):
                await session.fetch(broken, UUID(int=0))


async def test_transaction_when_statements_go_both_ways(pooled: Database) -> None:
    """They are in one transaction, before and after a commit, whichever way they take."""
    row = (
        "INSERT INTO document_counters (organization_id, kind, period, last_value)"
        " VALUES ($1, 'order', '2026', 1)"
    )
    count = "SELECT count(*), pg_current_xact_id()::text, pg_backend_pid() FROM document_counters"
    async with pooled.system() as session:
        begun = (await session.fetch(count))[0]
        assert list(await session.fetch(row, UUID(int=1))) == []
        assert tuple((await session.fetch(count))[0]) == (1, *tuple(begun)[1:])
        assert (await pooled.reads.rows(count))[0][0] == 0
        await session.rollback()
        assert (await session.fetch(count))[0][0] == 0
        await session.fetch(row, UUID(int=2))
        await session.commit()
        assert (await session.fetch(count))[0][0] == 1
    assert (await pooled.reads.rows(count))[0][0] == 1


async def test_closing_when_a_statement_is_under_way(pooled: Database) -> None:
    asking = asyncio.create_task(pooled.reads.rows("SELECT pg_sleep(0.1)"))
    await asyncio.sleep(0.02)
    await pooled.reads.close()
    assert len(await asking) == 1
    assert pooled.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # as above
    assert isinstance(pooled.reads, PooledReads)


async def test_session_row_when_its_names_are_compared(database: Database, alice: Persona) -> None:
    """The tuple has the columns of the statement, in its order."""
    async with database.system() as session:
        connection = await session.connection()
        result = await connection.exec_driver_sql(SESSION_SQL, (alice.session_id, None))
        assert tuple(result.keys()) == SessionRow._fields


def test_criteria_when_the_same_principal_comes_again(alice: Persona, charlie: Persona) -> None:
    """They are made once for a principal, and are never another one's."""
    assert row_criteria(alice.principal) is row_criteria(alice.principal)
    assert row_criteria(alice.principal) is not row_criteria(charlie.principal)
