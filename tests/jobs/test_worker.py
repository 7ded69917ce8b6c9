"""The worker: runs what is queued, survives its database, and stops without losing anything."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.metrics import JOBS_FAILED
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import JOBS, QUICK_QUEUES, SLOW_QUEUES, WAITING_QUEUES, defer, job
from app.jobs.worker import Worker
from tests.jobs.conftest import emit_all, until
from tests.support.cluster import Cluster
from tests.support.events import declare_event

pytestmark = pytest.mark.commits

Start = Callable[..., Awaitable[Worker]]

STATES = text("SELECT task_name, status::text, attempts FROM procrastinate_jobs ORDER BY id")
CUT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
LISTENERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Start]:
    """Starts workers over the test's database, with settings of its choice, and stops them after it."""
    running: list[Worker] = []

    async def starter(**settings: Any) -> Worker:
        worker = Worker(database, get_settings().model_copy(update=settings))
        running.append(worker)
        await worker.start()
        return worker

    yield starter
    for worker in running:
        await worker.stop()


async def states(database: Database) -> list[tuple[Any, ...]]:
    async with database.system(autocommit=True) as session:
        return [tuple(row) for row in await session.execute(STATES) if row.task_name.startswith("test.")]


async def queue(database: Database, name: str, **arguments: Any) -> None:
    async with database.transaction() as session:
        await defer(session, name, **arguments)


async def test_event_and_its_job_are_done_when_a_worker_runs(database: Database, start: Start) -> None:
    done: list[int] = []

    @handler("note")
    async def note(session: SystemSession, event: EventRow) -> None:
        await defer(session, "test.work", number=event.data["number"])

    @job("test.work", queue="default")
    async def work(_: Database, *, number: int) -> None:
        done.append(number)

    kind = declare_event(handlers=("note",))
    await start()
    for number in range(2):
        await emit_all(database, kind, number)
        await until(lambda: done == list(range(number + 1)))  # noqa: B023 - awaited before the loop goes on


async def test_worker_is_woken_before_its_poll_when_events_were_sequenced(
    database: Database, start: Start
) -> None:
    done: list[int] = []

    @handler("note")
    async def note(_: SystemSession, event: EventRow) -> None:
        done.append(event.data["number"])

    kind = declare_event(handlers=("note",))
    await start(worker_poll_ms=60_000)
    await asyncio.wait_for(listening(database), 60)
    for turn in (1, 2):
        before, began = len(done), time.monotonic()
        # A call that comes while the worker is looking for jobs is lost; the next one brings both.
        while len(done) == before:
            await emit_all(database, kind, turn)
            with contextlib.suppress(TimeoutError):
                await until(lambda: len(done) > before, seconds=5)  # noqa: B023 - awaited before the loop goes on
    # The last look without a call was at the end of the first turn, so the next one is a minute after that.
    assert time.monotonic() - began < 50


async def listening(database: Database) -> None:
    """Return once a worker listens."""
    while True:
        async with database.system(autocommit=True) as session:
            if await session.scalar(LISTENERS):
                return
        await asyncio.sleep(0.02)


async def test_worker_polls_and_listens_to_nothing_when_told_so(database: Database, start: Start) -> None:
    done: list[int] = []

    @handler("note")
    async def note(_: SystemSession, event: EventRow) -> None:
        done.append(event.data["number"])

    await start(events_wake="poll", worker_poll_ms=20)
    await emit_all(database, declare_event(handlers=("note",)), 1, 2)
    await until(lambda: sorted(done) == [1, 2])
    async with database.system(autocommit=True) as session:
        assert await session.scalar(LISTENERS) == 0


async def test_job_is_retried_and_then_given_up_when_it_keeps_failing(
    database: Database, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []

    @job("test.broken", queue="maintenance", retry_after=(0, 0))
    async def broken(_: Database) -> None:
        attempts.append(1)
        raise ValueError("broken")

    failed = JOBS_FAILED.labels("test.broken")._value.get()
    await queue(database, "test.broken")
    await start(worker_poll_ms=20)
    async with asyncio.timeout(60):
        while await states(database) != [("test.broken", "failed", 3)]:  # noqa: ASYNC110 - rows wake nobody
            await asyncio.sleep(0.02)
    assert len(attempts) == 3
    assert JOBS_FAILED.labels("test.broken")._value.get() == failed + 1
    assert "Alert: job test.broken" in caplog.text


async def test_running_job_ends_in_peace_when_the_worker_stops(database: Database, start: Start) -> None:
    began = asyncio.Event()

    @job("test.slow", queue="default")
    async def slow(_: Database) -> None:
        began.set()
        await asyncio.sleep(0.3)

    worker = await start()
    await queue(database, "test.slow")
    await asyncio.wait_for(began.wait(), 60)
    await worker.stop(60)
    assert await states(database) == [("test.slow", "succeeded", 1)]


async def test_job_goes_back_to_the_queue_when_it_outlasts_the_stop(database: Database, start: Start) -> None:
    began = asyncio.Event()

    @job("test.endless", queue="exports")
    async def endless(_: Database) -> None:
        began.set()
        await asyncio.sleep(600)

    worker = await start()
    await queue(database, "test.endless")
    await asyncio.wait_for(began.wait(), 60)
    await worker.stop(0.1)
    assert await states(database) == [("test.endless", "todo", 1)]


@pytest.mark.fault
async def test_worker_goes_on_when_all_its_connections_were_cut(database: Database, start: Start) -> None:
    done: list[int] = []

    @handler("note")
    async def note(_: SystemSession, event: EventRow) -> None:
        done.append(event.data["number"])

    kind = declare_event(handlers=("note",))
    await start()
    await emit_all(database, kind, 1)
    await until(lambda: done == [1])
    await cut(database)
    await emit_all(database, kind, 2)
    await until(lambda: done == [1, 2])


async def cut(database: Database) -> None:
    """End every connection to the database, those of the test's own pool too."""
    async with database.system(autocommit=True) as session:
        await session.execute(CUT)
    await database.dispose()


@pytest.mark.fault
async def test_worker_stops_quietly_when_its_database_is_gone(
    database: Database, start: Start, cluster: Cluster
) -> None:
    worker = await start()
    await asyncio.wait_for(listening(database), 60)
    name = database.engine.url.database
    assert name is not None
    await cluster.drop(name)
    async with asyncio.timeout(60):
        await worker.stop(1)


@pytest.mark.fault
async def test_worker_waits_when_its_database_is_not_there_yet(
    database: Database, start: Start, cluster: Cluster
) -> None:
    done: list[int] = []

    @handler("note")
    async def note(_: SystemSession, event: EventRow) -> None:
        done.append(event.data["number"])

    name = database.engine.url.database
    assert name is not None
    await cluster.drop(name)
    await start()
    await asyncio.sleep(0.3)
    await cluster.clone(name)
    await database.dispose()
    await emit_all(database, declare_event(handlers=("note",)), 1)
    await until(lambda: done == [1])


async def test_worker_comes_back_soon_when_it_had_worked_well(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Worker):
        tries = 0

        async def _work_once(self, *_: object, **__: object) -> None:
            self.tries += 1
            raise ConnectionError("the database has gone")

    monkeypatch.setattr("app.jobs.worker.BACK_OFF", (0.0, 600.0))
    monkeypatch.setattr("app.jobs.worker.WORKED_SECONDS", -1.0)
    worker = Failing(database, get_settings())
    working = asyncio.create_task(worker._work(database, ["default"], 1))
    await until(lambda: worker.tries > 2)
    await worker.stop()
    await working


async def test_every_job_has_a_queue_that_a_worker_looks_after() -> None:
    assert len(JOBS) >= 6
    assert {kind.queue for kind in JOBS.values()} <= {*QUICK_QUEUES, *WAITING_QUEUES, *SLOW_QUEUES}
    assert {"jobs.rescue", "jobs.prune", "events.prune", "events.check"} <= {
        name for name, kind in JOBS.items() if kind.cron
    }
