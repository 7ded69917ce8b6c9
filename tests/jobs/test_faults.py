"""Workers killed at any moment lose no event and no handling, double none, and keep the order of the log."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.events import emit
from app.core.ids import uuid7
from app.jobs import upkeep
from app.jobs.queue import defer, job
from tests.support.events import Numbered
from tests.support.worker_process import TABLES, happened, start_worker

pytestmark = [pytest.mark.fault, pytest.mark.commits]

WRITERS = 8
EVENTS_EACH = 38

LOG = text("SELECT pos, event_id FROM event_log WHERE pos > :seen ORDER BY pos")
EFFECTS = text("SELECT event_id FROM effects")
WAITING = text("SELECT count(*) FROM event_outbox")
UNFINISHED = text("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded' AND args ? 'event_id'")
SILENCE = text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '61 seconds'")


class Reader:
    """Follows the log as a hub does: always from the last position that it has seen."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[tuple[int, UUID]] = []

    async def follow(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.005)

    async def look(self) -> None:
        async with self.database.system(autocommit=True) as session:
            last = self.seen[-1][0] if self.seen else 0
            self.seen.extend((row.pos, row.event_id) for row in await session.execute(LOG, {"seen": last}))


async def write(database: Database, kind: type[Numbered], *, writer: int, count: int) -> list[UUID]:
    """Emit `count` events in transactions of different lengths, some rolled back; what was committed."""
    draw = random.Random(writer)
    committed: list[UUID] = []
    while len(committed) < count:
        async with database.system() as session:
            size = min(draw.randint(1, 2), count - len(committed))
            emitted = [await emit(session, kind(number=writer)) for _ in range(size)]
            await asyncio.sleep(draw.uniform(0, 0.25))
            if draw.random() < 0.15:
                await session.rollback()
                continue
            await session.commit()
        committed.extend(emitted)
    return committed


async def keep_killing(database: Database, url: str, wake: str, processes: list[ForkServerProcess]) -> None:
    """Kill the oldest of three workers about every 300 ms, amid its work, and start another one."""
    before = await count_effects(database)
    while True:
        processes.append(start_worker(url, wake=wake))
        await asyncio.sleep(0.3)
        if len(processes) < 3:
            continue
        # On a slow machine a worker needs longer than that to get to work at all.
        while (done := await count_effects(database)) == before:  # noqa: ASYNC110 - rows wake nobody
            await asyncio.sleep(0.01)
        before = done
        await end(processes.pop(0))


async def count_effects(database: Database) -> int:
    async with database.system(autocommit=True) as session:
        return len((await session.scalars(EFFECTS)).all())


async def end(process: ForkServerProcess) -> None:
    """Kill a process as nothing can prevent, and wait until it is gone."""
    process.kill()
    await asyncio.to_thread(process.join)


async def prepare(database: Database) -> str:
    """Make the tables for effects; the address of the database."""
    async with database.transaction() as session:
        for table in TABLES:
            await session.execute(text(table))
    return database.engine.url.render_as_string(hide_password=False)


async def settled(database: Database, query: str, wanted: int) -> None:
    """Wait until a query answers that number."""
    async with asyncio.timeout(120):
        while True:
            async with database.system(autocommit=True) as session:
                if await session.scalar(text(query)) == wanted:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("wake", ["listen", "poll"])
async def test_every_event_is_handled_once_when_workers_are_killed(database: Database, wake: str) -> None:
    url, kind = await prepare(database), happened()
    processes = [start_worker(url, wake=wake)]
    expected = await write(database, kind, writer=0, count=1)
    await settled(database, "SELECT count(*) FROM effects", 1)
    reader = Reader(database)
    chores = [
        asyncio.create_task(reader.follow()),
        asyncio.create_task(keep_killing(database, url, wake, processes)),
    ]
    committed = await asyncio.gather(
        *(write(database, kind, writer=writer, count=EVENTS_EACH) for writer in range(WRITERS))
    )
    while await count_effects(database) == len(expected):  # noqa: ASYNC110 - rows wake nobody
        await asyncio.sleep(0.02)
    for chore in chores:
        chore.cancel()
    await asyncio.gather(*chores, return_exceptions=True)
    for process in processes:
        await end(process)

    await upkeep.rescue_jobs(database, silent_for=timedelta(0))
    last = start_worker(url, wake=wake)
    expected += [event_id for events in committed for event_id in events]
    await settled(database, "SELECT count(DISTINCT event_id) FROM effects", len(expected))
    await settled(database, UNFINISHED.text, 0)
    last.terminate()
    await asyncio.to_thread(last.join)
    assert last.exitcode == 0

    await reader.look()
    async with database.system(autocommit=True) as session:
        log = [tuple(row) for row in await session.execute(LOG, {"seen": 0})]
        effects = Counter(await session.scalars(EFFECTS))
        assert await session.scalar(WAITING) == 0
    assert effects == Counter(expected)
    assert reader.seen == log
    order = [event_id for _, event_id in log]
    assert Counter(order) == Counter(expected)
    for events in committed:
        mine = set(events)
        assert [event_id for event_id in order if event_id in mine] == events


async def test_job_of_a_killed_worker_runs_again_when_it_is_rescued(database: Database) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("this process runs no jobs")

    job("test.stuck", queue="default")(never)
    url = await prepare(database)
    async with database.transaction() as session:
        await defer(session, "test.stuck", event_id=uuid7())
    first = start_worker(url)
    await settled(database, "SELECT count(*) FROM starts", 1)
    await end(first)
    assert await upkeep.rescue_jobs(database) == 0
    async with database.transaction() as session:
        await session.execute(SILENCE)
    assert await upkeep.rescue_jobs(database) >= 1
    second = start_worker(url)
    await settled(database, "SELECT count(*) FROM effects", 1)
    await settled(database, UNFINISHED.text, 0)
    await end(second)
