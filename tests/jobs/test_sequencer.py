"""The sequencer: committed events get into the log once, in an order that readers can follow."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import Database, SystemSession
from app.core.events import EventOutbox, emit
from app.core.ids import uuid7
from app.core.permissions import Permission
from app.jobs.sequencer import Floor, Sequencer
from app.models.realtime import EventLog
from app.repositories.realtime import Turn, sequence_once
from tests.factories.webhooks import happen, make_webhook
from tests.jobs.conftest import emit_all
from tests.support.events import declare_event
from tests.support.personas import Persona

Recorder = Callable[[], AbstractContextManager[list[str]]]

JOBS = text("SELECT queue_name, task_name, args FROM procrastinate_jobs ORDER BY id")
CUT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'luneo-sequencer' AND datname = current_database()"
)


@asynccontextmanager
async def autocommit(database: Database) -> AsyncIterator[AsyncConnection]:
    """A connection of its own, as each process' sequencer has one."""
    async with database.engine.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")


async def numbers(database: Database) -> list[int]:
    """The payloads in the log, in its order."""
    async with database.system() as session:
        bodies = await session.scalars(select(EventLog.body).order_by(EventLog.pos))
        return [json.loads(body)["data"]["number"] for body in bodies]


async def sequenced(database: Database, count: int) -> list[int]:
    """The payloads in the log, once there are so many."""
    async with asyncio.timeout(60):
        while len(found := await numbers(database)) < count:  # noqa: ASYNC110 - rows wake nobody
            await asyncio.sleep(0.01)
    return found


async def test_event_keeps_every_column_when_it_moves_to_the_log(database: Database) -> None:
    kind = declare_event(audience="organization", permission=Permission.orders_read)
    async with database.transaction(request_id="req-1") as session:
        event_id = await emit(session, kind(number=7), private={"a": 1}, organization_id=uuid7())
        outbox = (await session.scalars(select(EventOutbox))).one()
    names = [column.name for column in EventOutbox.__table__.columns if column.name != "id"]
    before = {name: getattr(outbox, name) for name in names}
    async with database.system() as session:
        turn = await sequence_once(session)
        row = (await session.scalars(select(EventLog))).one()
        left = await session.scalar(select(func.count()).select_from(EventOutbox))
    assert {name: getattr(row, name) for name in names} == before
    assert (row.event_id, row.request_id, left) == (event_id, "req-1", 0)
    assert (turn.taken, turn.last_id, turn.last_pos) == (1, outbox.id, row.pos)


async def test_handling_is_deferred_only_when_the_class_has_handlers(database: Database) -> None:
    handled, silent = declare_event("test.handled", handlers=("x",)), declare_event("test.silent")
    async with database.transaction() as session:
        await emit(session, silent(number=1))
        event_id = await emit(session, handled(number=2))
    async with database.system() as session:
        await sequence_once(session)
        jobs = (await session.execute(JOBS)).all()
    assert jobs == [("events", "events.handle", {"event_id": str(event_id)})]


async def test_handling_is_deferred_when_only_webhooks_may_carry_it_and_there_is_an_endpoint(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    await make_webhook(db, owner=charlie)
    await happen(database, alice)
    (event_id,) = await happen(database, charlie)
    async with database.system() as session:
        await sequence_once(session)
        jobs = (await session.execute(JOBS)).all()
    assert jobs == [("events", "events.handle", {"event_id": str(event_id)})]


async def test_turn_takes_five_hundred_in_their_order_when_more_wait(database: Database) -> None:
    await emit_all(database, declare_event(), *range(510))
    async with database.transaction() as session:
        first, second, third = [await sequence_once(session) for _ in range(3)]
    assert (first.taken, second.taken, third.taken) == (500, 10, 0)
    assert await numbers(database) == list(range(510))


async def test_event_never_was_when_its_transaction_is_rolled_back(database: Database) -> None:
    kind = declare_event()
    async with database.system() as session:
        await emit(session, kind(number=1))
        await session.rollback()
    async with database.system() as session:
        assert (await sequence_once(session)).taken == 0


@pytest.mark.commits
async def test_turn_is_refused_when_another_process_is_at_it(database: Database) -> None:
    await emit_all(database, declare_event(), 1)
    async with database.engine.connect() as other, autocommit(database) as connection:
        await other.execute(text("SELECT pg_advisory_xact_lock(5001)"))
        assert (await sequence_once(connection)) == Turn(-1, None, None, None, None)
        await other.rollback()
        assert (await sequence_once(connection)).taken == 1


@pytest.mark.commits
async def test_readers_and_workers_are_called_when_events_were_sequenced(database: Database) -> None:
    calls: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    plain = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    listener = await asyncpg.connect(plain)
    for channel in ("luneo_events", "procrastinate_any_queue_v1"):
        await listener.add_listener(channel, lambda _c, _p, name, body: calls.put_nowait((name, body)))
    silent, handled = declare_event("test.silent"), declare_event("test.handled", handlers=("x",))
    async with autocommit(database) as connection:
        await sequence_once(connection)
        await emit_all(database, silent, 1, 2)
        turn = await sequence_once(connection)
        assert await asyncio.wait_for(calls.get(), 60) == ("luneo_events", str(turn.last_pos))
        await emit_all(database, handled, 3)
        turn = await sequence_once(connection)
        woken = ("procrastinate_any_queue_v1", '{"type":"job_inserted","job_id":0}')
        assert await asyncio.wait_for(calls.get(), 60) == woken
        assert await asyncio.wait_for(calls.get(), 60) == ("luneo_events", str(turn.last_pos))
    await listener.close()
    assert calls.empty()


FILLER = 99
"""The payload of events that only let the floor rise."""


async def raise_floor(database: Database, connection: AsyncConnection, floor: Floor) -> None:
    """Take turns with events until the floor has risen.

    A transaction in any database of the server keeps the floor down, also one of another test.
    """
    async with asyncio.timeout(120):
        while floor.value == 0:
            await emit_all(database, declare_event(), FILLER)
            floor.note(await sequence_once(connection, floor.value))


@pytest.mark.commits
async def test_lower_id_is_not_passed_over_when_its_transaction_commits_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.sequencer.SETTLED_SECONDS", 0)
    kind, floor = declare_event(), Floor()
    async with autocommit(database) as connection:
        async with database.transaction() as late:
            await emit(late, kind(number=1))
            for number in range(2, 6):
                await emit_all(database, kind, number)
                floor.note(await sequence_once(connection, floor.value))
            assert floor.value == 0
        turn = await sequence_once(connection, floor.value)
        assert turn.taken == 1
        await raise_floor(database, connection, floor)
        await emit_all(database, kind, 6)
        assert (await sequence_once(connection, floor.value)).taken == 1
    assert [number for number in await numbers(database) if number != FILLER] == [2, 3, 4, 5, 1, 6]


@pytest.mark.commits
async def test_lower_id_is_not_passed_over_when_its_transaction_began_to_write_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is then above that of every transaction that has ended, and so above their snapshot's."""
    monkeypatch.setattr("app.jobs.sequencer.SETTLED_SECONDS", 0)
    kind, floor = declare_event(), Floor()
    async with autocommit(database) as connection:
        async with database.transaction() as first:
            await first.execute(text("SELECT pg_current_xact_id()"))
            async with database.transaction() as second:
                await emit(second, kind(number=1))
                await emit(first, kind(number=2))
                await first.commit()
                for _ in range(6):
                    floor.note(await sequence_once(connection, floor.value))
                await emit(second, kind(number=3))
        assert (await sequence_once(connection, floor.value)).taken == 2
    assert await numbers(database) == [2, 1, 3]


def test_floor_rises_when_every_transaction_of_a_batch_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("app.jobs.sequencer.time.monotonic", lambda: now)
    floor = Floor()
    floor.note(Turn(3, 30, 3, 100, 105))
    floor.note(Turn(2, 32, 5, 104, 108))
    floor.note(Turn(0, None, None, 108, 108))
    now = 50.6
    floor.note(Turn(0, None, None, 108, 108))
    floor.note(Turn(2, 34, 7, 108, 111))
    floor.note(Turn(-1, None, None, None, None))
    floor.note(Turn(1, 35, 8, 110, 113))
    floor.note(Turn(1, 36, 9, 112, 114))
    assert floor.value == 0
    floor.note(Turn(1, 37, 10, 113, 115))
    assert floor.value == 30
    now = 51.2
    floor.note(Turn(1, 38, 11, 113, 116))
    floor.note(Turn(0, None, None, 113, 116))
    floor.note(Turn(0, None, None, 116, 116))
    assert floor.value == 37


def test_floor_is_left_out_when_two_seconds_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("app.jobs.sequencer.time.monotonic", lambda: now)
    floor = Floor()
    floor.value = 9
    assert floor.of_turn() == 9
    now = 52.0
    assert (floor.of_turn(), floor.of_turn()) == (0, 9)


@pytest.fixture
async def sequencer(database: Database) -> AsyncIterator[Sequencer]:
    """A running loop with a pause so long that only a poke explains what it does."""
    running = Sequencer(database.engine.url, pause=600.0)
    task = asyncio.create_task(running.run())
    yield running
    running.stop()
    await asyncio.wait_for(task, 60)


@pytest.mark.commits
async def test_loop_takes_a_turn_at_once_when_this_process_has_committed(
    database: Database, sequencer: Sequencer
) -> None:
    kind = declare_event()
    for number in range(3):
        await emit_all(database, kind, number)
        assert await sequenced(database, number + 1) == list(range(number + 1))


@pytest.mark.commits
async def test_loop_goes_on_when_its_connection_was_cut(
    database: Database, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once each time: what went wrong before it worked again makes no later loss worse."""
    monkeypatch.setattr("app.jobs.sequencer.BACK_OFF", (0.0, 600.0))
    kind = declare_event()
    await emit_all(database, kind, 0)
    await sequenced(database, 1)
    for number in (1, 2):
        async with database.system(autocommit=True) as session:
            assert (await session.execute(CUT)).all() == [(True,)]
        await emit_all(database, kind, number)
        assert await sequenced(database, number + 1) == list(range(number + 1))


@pytest.mark.parametrize("count", [0, 3, 600])
async def test_turn_is_one_statement_however_many_events_wait(
    database: Database, statements: Recorder, count: int
) -> None:
    await emit_all(database, declare_event(handlers=("x",)), *range(count))
    async with database.transaction() as session:
        await session.connection()
        with statements() as seen:
            turn = await sequence_once(session)
    assert (turn.taken, len(seen)) == (min(count, 500), 1)


async def test_log_shows_a_person_what_is_theirs_and_what_their_role_covers(
    database: Database, alice: Any, bob: Any, charlie: Any
) -> None:
    orders = declare_event("test.ordered", audience="organization", permission=Permission.orders_read)
    audit = declare_event("test.audited", audience="organization", permission=Permission.audit_read)
    personal, internal = declare_event("test.met", audience="personal"), declare_event("test.hidden")
    async with database.transaction() as session:
        await emit(session, orders(number=1), organization_id=alice.organization_id)
        await emit(session, audit(number=2), organization_id=alice.organization_id)
        await emit(session, personal(number=3), user_id=bob.user_id)
        await emit(session, internal(number=4), organization_id=alice.organization_id)
        await sequence_once(session)

    async def seen(principal: Any) -> list[str]:
        async with database.owner(principal, autocommit=True) as session:
            return list(await session.scalars(select(EventLog.type).order_by(EventLog.pos)))

    assert await seen(alice.principal) == ["test.ordered", "test.audited"]
    assert await seen(bob.principal) == ["test.ordered", "test.met"]
    assert await seen(charlie.principal) == []
    assert await seen(None) == []
