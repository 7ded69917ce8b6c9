"""Upkeep: dead workers' jobs come back, old rows go, and a queue that stands still is noticed."""

import logging
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select, text

from app.core import clock
from app.core.database import Database
from app.core.events import emit
from app.core.idempotency import IdempotencyRecord
from app.core.ids import uuid7
from app.core.metrics import JOBS_FAILED, OUTBOX_ROWS
from app.jobs import upkeep
from app.jobs.queue import defer
from app.models.realtime import EventEpoch, EventHandling, EventLog
from app.repositories.realtime import sequence_once
from tests.support.events import declare_event

WORKER = text(
    "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - CAST(:silent AS interval))"
    " RETURNING id"
)
TAKE = text("SELECT id FROM procrastinate_fetch_job_v2(NULL, :worker)")
STATES = text("SELECT id, status::text AS status FROM procrastinate_jobs")
FINISH = text("SELECT procrastinate_finish_job_v1(:id, CAST(:status AS procrastinate_job_status), false)")
FAIL = text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)")
AGE_JOB = text("UPDATE procrastinate_events SET at = now() - CAST(:age AS interval) WHERE job_id = :id")
AGE_EVENT = text(
    "UPDATE event_log SET sequenced_at = now() - CAST(:age AS interval) WHERE event_id = :event_id"
)


async def queued(database: Database, count: int = 1) -> list[int]:
    """Jobs that wait, oldest first."""
    async with database.transaction() as session:
        found = [await defer(session, "events.handle", event_id=uuid7()) for _ in range(count)]
        return [job_id for job_id in found if job_id is not None]


async def started(database: Database, *, silent: timedelta) -> int:
    """The next job, taken by a worker whose last heartbeat was so long ago."""
    async with database.transaction() as session:
        worker = await session.scalar(WORKER, {"silent": silent})
        job_id: int = (await session.execute(TAKE, {"worker": worker})).scalar_one()
        return job_id


async def states(database: Database) -> dict[int, str]:
    async with database.system() as session:
        return {row.id: row.status for row in await session.execute(STATES)}


async def run(database: Database, statement: Any, **values: Any) -> None:
    async with database.transaction() as session:
        await session.execute(statement, values)


async def test_job_waits_again_when_its_worker_is_silent_for_a_minute(database: Database) -> None:
    dead, alive = await queued(database, 2)
    assert await started(database, silent=timedelta(seconds=61)) == dead
    assert await started(database, silent=timedelta(seconds=59)) == alive
    await upkeep.rescue(database)
    assert await states(database) == {dead: "todo", alive: "doing"}


async def test_job_waits_again_when_its_worker_has_left_without_a_word(database: Database) -> None:
    (job_id,) = await queued(database)
    await started(database, silent=timedelta())
    await run(database, text("DELETE FROM procrastinate_workers"))
    await upkeep.rescue(database)
    assert await states(database) == {job_id: "todo"}


async def test_job_is_given_up_when_it_was_rescued_five_times(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    (job_id,) = await queued(database)
    failed = JOBS_FAILED.labels("events.handle")._value.get()
    for _ in range(2):
        await started(database, silent=timedelta())
        await run(database, FAIL, id=job_id)
    for rescued in range(6):
        assert await states(database) == {job_id: "todo"}, f"after {rescued} rescues"
        await started(database, silent=timedelta(minutes=2))
        await upkeep.rescue(database)
    assert await states(database) == {job_id: "failed"}
    assert JOBS_FAILED.labels("events.handle")._value.get() == failed + 1
    assert "Alert: job events.handle" in caplog.text


async def test_rescue_succeeds_when_a_successor_holds_the_queueing_lock(database: Database) -> None:
    async with database.transaction() as session:
        first = await defer(session, "jobs.rescue", queueing_lock="once")
    await started(database, silent=timedelta(minutes=2))
    async with database.transaction() as session:
        second = await defer(session, "jobs.rescue", queueing_lock="once")
    await upkeep.rescue(database)
    assert await states(database) == {first: "todo", second: "todo"}


async def test_job_is_not_run_again_when_it_was_being_cancelled(database: Database) -> None:
    (job_id,) = await queued(database)
    await started(database, silent=timedelta(minutes=2))
    await run(database, text("UPDATE procrastinate_jobs SET abort_requested = true"))
    await upkeep.rescue(database)
    assert await states(database) == {job_id: "failed"}


async def test_ended_jobs_go_when_their_time_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    ended = {"succeeded": (23, 25), "failed": (29 * 24, 31 * 24), "aborted": (31 * 24,)}
    kept: set[int] = set()
    for status, ages in ended.items():
        for age in ages * 3:
            (job_id,) = await queued(database)
            await started(database, silent=timedelta())
            await run(database, FINISH, id=job_id, status=status)
            await run(database, AGE_JOB, id=job_id, age=timedelta(hours=age))
            if age in (23, 29 * 24):
                kept.add(job_id)
    kept.update(await queued(database))
    await upkeep.prune_jobs(database)
    assert set(await states(database)) == kept


async def logged(database: Database, audience: Any, ages: Iterable[timedelta]) -> list[UUID]:
    """Events that got into the log so long ago, each with a handling."""
    kind = declare_event(f"test.{audience}", audience=audience, handlers=("x",))
    found = []
    async with database.transaction() as session:
        for number, age in enumerate(ages):
            found.append(await emit(session, kind(number=number), user_id=uuid7()))
            await sequence_once(session)
            await session.execute(AGE_EVENT, {"event_id": found[-1], "age": age})
            await session.execute(insert(EventHandling).values(event_id=found[-1], handler="x"))
        await session.execute(text("UPDATE procrastinate_jobs SET status = 'succeeded'"))
    return found


async def remaining(database: Database) -> set[UUID]:
    async with database.system() as session:
        return set(await session.scalars(select(EventLog.event_id)))


async def test_old_events_go_when_nobody_owes_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 1)
    days = [timedelta(days=count) for count in (31, 29, 5, 3)]
    personal = await logged(database, "personal", days)
    internal = await logged(database, "internal", days)
    await upkeep.prune_events(database)
    assert await remaining(database) == {*personal[1:], *internal[1:]}
    async with database.system() as session:
        handled = set(await session.scalars(select(EventHandling.event_id)))
    assert handled == await remaining(database)


async def test_topic_rows_go_after_four_days_when_others_stay(database: Database) -> None:
    rows = await logged(database, "personal", [timedelta(days=5)] * 2 + [timedelta(days=3)])
    await run(database, text("UPDATE event_log SET audience = 'topic' WHERE event_id = :id"), id=rows[0])
    await run(database, text("UPDATE event_log SET audience = 'topic' WHERE event_id = :id"), id=rows[2])
    await upkeep.prune_events(database)
    assert await remaining(database) == {rows[1], rows[2]}


@pytest.mark.parametrize("status", ["todo", "failed"])
async def test_old_event_stays_when_a_handler_still_owes_it(database: Database, status: str) -> None:
    owed, done = await logged(database, "internal", [timedelta(days=99)] * 2)
    async with database.transaction() as session:
        job_id = await defer(session, "events.handle", event_id=owed)
    if status == "failed":
        await run(database, FINISH, id=job_id, status=status)
    await upkeep.prune_events(database)
    assert (await remaining(database), done in await remaining(database)) == ({owed}, False)


async def test_streams_resume_over_three_days_when_the_log_is_pruned(database: Database) -> None:
    async def floor() -> int:
        async with database.system() as session:
            return (await session.execute(select(EventEpoch.resume_floor))).scalar_one()

    await upkeep.prune_events(database)
    assert await floor() == 0
    rows = await logged(database, "internal", [timedelta(hours=hours) for hours in (80, 73, 71, 1)])
    async with database.system() as session:
        newest = await session.scalar(select(EventLog.pos).where(EventLog.event_id == rows[1]))
    await upkeep.prune_events(database)
    assert await floor() == newest
    await run(database, text("DELETE FROM event_log"))
    await upkeep.prune_events(database)
    assert await floor() == newest


async def test_operators_are_told_when_an_event_waits_too_long(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.transaction() as session:
        await emit(session, declare_event()(number=1))
    caplog.set_level(logging.ERROR)
    await upkeep.check_events(database)
    assert "Alert" not in caplog.text
    assert OUTBOX_ROWS._value.get() == 1
    with clock.travel(timedelta(seconds=31)):
        await upkeep.check_events(database)
    assert re.search(r"Alert: an event has been waiting in the outbox for \d\d seconds", caplog.text)


async def test_answers_to_repeated_writes_go_when_they_have_expired(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    now = clock.now()
    async with database.transaction() as session:
        for number in range(5):
            expires_at = now + timedelta(seconds=1 if number == 3 else -1)
            values = {"owner_hash": b"o", "key_hash": bytes([number]), "fingerprint": b"f", "status": 201}
            more = {"headers": [], "body": b"{}", "expires_at": expires_at}
            await session.execute(insert(IdempotencyRecord).values(**values, **more))
    await upkeep.prune_idempotency(database)
    async with database.system() as session:
        assert await session.scalar(select(func.count()).select_from(IdempotencyRecord)) == 1
