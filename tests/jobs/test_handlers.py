"""Handlers: each does its work for an event once, together with the record of it, whatever others do."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from procrastinate.jobs import Job as QueuedJob
from sqlalchemy import select, text

from app.core.database import Database, SystemSession
from app.core.events import REGISTRY, emit
from app.core.ids import uuid7
from app.jobs.app import Steps
from app.jobs.handlers import EventRow, handle_event, handler
from app.jobs.queue import JOBS, defer, job
from app.models.realtime import EventHandling, EventLog
from app.repositories.realtime import sequence_once
from tests.jobs.conftest import emit_all
from tests.support.events import Numbered, declare_event, handle_events

STEPS = (5, 30, 300, 1800, 7200, 21_600)
QUEUED = text("SELECT task_name, args, lock, queueing_lock FROM procrastinate_jobs ORDER BY id")


async def logged(database: Database, kind: type[Numbered], number: int = 1) -> UUID:
    """An event of the log that nobody has handled."""
    async with database.transaction() as session:
        event_id = await emit(session, kind(number=number), private={"token_id": "t"})
        await sequence_once(session)
    return event_id


async def handlings(database: Database, event_id: UUID) -> set[str]:
    """Who has recorded that the work for this event is done."""
    async with database.system() as session:
        statement = select(EventHandling.handler).where(EventHandling.event_id == event_id)
        return set(await session.scalars(statement))


async def test_handlers_get_the_event_in_their_order_when_it_is_handled(database: Database) -> None:
    seen: list[tuple[str, int, str]] = []

    @handler("first")
    async def first(session: SystemSession, event: EventRow) -> None:
        assert session.principal is not None
        assert (session.principal.kind, session.principal.actor_id) == ("system", "first")
        seen.append(("first", event.data["number"], event.private["token_id"]))

    @handler("second")
    async def second(_: SystemSession, event: EventRow) -> None:
        seen.append(("second", event.data["number"], event.type))

    event_id = await logged(database, declare_event(handlers=("second", "first")))
    await handle_event(database, event_id)
    assert seen == [("second", 1, "test.happened"), ("first", 1, "t")]
    assert await handlings(database, event_id) == {"first", "second"}
    await handle_event(database, event_id)
    assert len(seen) == 2


async def test_private_part_is_gone_when_all_handlers_are_done(database: Database) -> None:
    fails = True

    @handler("reader")
    async def reader(_: SystemSession, event: EventRow) -> None:
        assert event.private == {"token_id": "t"}
        if fails:
            raise OSError

    async def sealed(event_id: UUID) -> bytes | None:
        async with database.system() as session:
            return await session.scalar(select(EventLog.private_sealed).where(EventLog.event_id == event_id))

    event_id = await logged(database, declare_event(handlers=("reader",)))
    with pytest.raises(ExceptionGroup):
        await handle_event(database, event_id)
    assert await sealed(event_id) is not None
    fails = False
    await handle_event(database, event_id)
    assert await sealed(event_id) is None


async def test_others_do_their_work_when_one_handler_raises(database: Database) -> None:
    calls: list[str] = []

    @handler("broken")
    async def broken(session: SystemSession, _: EventRow) -> None:
        calls.append("broken")
        await defer(session, "events.handle", event_id=uuid7())
        raise ValueError("the mailer's fault")

    @handler("sound")
    async def sound(_session: SystemSession, _: EventRow) -> None:
        calls.append("sound")

    event_id = await logged(database, declare_event(handlers=("broken", "sound")))
    for _ in range(2):
        with pytest.raises(ExceptionGroup, match="1 handlers of test") as caught:
            await handle_event(database, event_id)
    assert "handler broken of event" in caught.value.exceptions[0].__notes__[0]
    assert calls == ["broken", "sound", "broken"]
    assert await handlings(database, event_id) == {"sound"}
    async with database.system() as session:
        queued = (await session.execute(QUEUED)).all()
    assert [row.args["event_id"] for row in queued] == [str(event_id)]


async def test_handling_is_tried_again_when_this_code_does_not_know_the_class(database: Database) -> None:
    event_id = await logged(database, declare_event(handlers=("unheard",)))
    with pytest.raises(ExceptionGroup) as caught:
        await handle_event(database, event_id)
    assert isinstance(caught.value.exceptions[0], LookupError)
    del REGISTRY["test.happened"]
    with pytest.raises(LookupError, match="no event class"):
        await handle_event(database, event_id)


async def test_handling_does_nothing_when_the_event_was_pruned(database: Database) -> None:
    event_id = uuid7()
    await handle_event(database, event_id)
    assert await handlings(database, event_id) == set()


@pytest.mark.commits
async def test_handler_works_once_when_two_workers_have_the_same_event(database: Database) -> None:
    calls: list[int] = []

    @handler("slow")
    async def slow(_: SystemSession, event: EventRow) -> None:
        calls.append(event.data["number"])
        await asyncio.sleep(0.05)

    event_id = await logged(database, declare_event(handlers=("slow",)))
    await asyncio.gather(*(handle_event(database, event_id) for _ in range(4)))
    assert calls == [1]


async def test_everything_is_done_when_handlers_queue_jobs_and_emit(database: Database) -> None:
    done: list[str] = []
    follow_up = declare_event("test.followed", handlers=("finish",))

    @handler("begin")
    async def begin(session: SystemSession, event: EventRow) -> None:
        await defer(session, "test.work", number=event.data["number"])

    @job("test.work", queue="default")
    async def work(database: Database, *, number: int) -> None:
        await emit_all(database, follow_up, number + 1)

    @handler("finish")
    async def finish(_: SystemSession, event: EventRow) -> None:
        done.append(f"{event.type} {event.data['number']}")

    await emit_all(database, declare_event(handlers=("begin",)), 1, 5)
    await handle_events(database)
    assert done == ["test.followed 2", "test.followed 6"]


async def test_job_keeps_its_options_when_it_is_deferred(database: Database) -> None:
    @job("test.work", queue="default")
    async def work(_: Database, *, number: int) -> None:
        raise AssertionError(number)

    identifier = uuid7()
    async with database.transaction() as session:
        first = await defer(session, "test.work", lock="a", queueing_lock="b", number=identifier)
        second = await defer(session, "test.work", queueing_lock="b", number=2)
        third = await defer(session, "test.work", number=3)
        queued = (await session.execute(QUEUED)).all()
    assert first is not None
    assert (second, third is None) == (None, False)
    assert queued == [
        ("test.work", {"number": str(identifier)}, "a", "b"),
        ("test.work", {"number": 3}, None, None),
    ]


async def test_deferring_is_refused_when_the_job_is_unknown_or_both_retried_and_single(
    database: Database,
) -> None:
    async with database.system() as session:
        with pytest.raises(KeyError):
            await defer(session, "test.unheard")
        with pytest.raises(ValueError, match="queueing lock"):
            await defer(session, "events.handle", queueing_lock="x", event_id="y")


def test_name_is_refused_when_it_is_taken() -> None:
    async def nothing(*_: object) -> None:
        return

    handler("test.taken")(nothing)
    with pytest.raises(TypeError, match="two handlers"):
        handler("test.taken")(nothing)
    with pytest.raises(TypeError, match="two jobs"):
        job("events.handle", queue="events")(nothing)


def test_handling_runs_again_in_growing_steps_when_it_fails() -> None:
    steps = Steps(JOBS["events.handle"].retry_after)
    assert [pause_of(steps, attempts, ValueError()) for attempts in range(7)] == [*STEPS, None]


def test_job_runs_again_at_once_when_its_worker_is_stopped() -> None:
    assert pause_of(Steps(()), 3, asyncio.CancelledError()) == 0


def pause_of(steps: Steps, attempts: int, error: BaseException) -> int | None:
    """The seconds until a job that has failed so often before runs again."""
    queued = QueuedJob(queue="q", lock=None, queueing_lock=None, task_name="t", attempts=attempts)
    decision = steps.get_retry_decision(exception=error, job=queued)
    if decision is None:
        return None
    assert decision.retry_at is not None
    return round((decision.retry_at - datetime.now(UTC)).total_seconds())
