"""Runs the event backbone inside a test: sequencer, handlers and jobs, in order, until nothing is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy import text

from app.core.database import Database
from app.core.events import REGISTRY, Audience, Event
from app.core.permissions import Permission
from app.jobs.app import load_areas
from app.jobs.handlers import HANDLERS
from app.jobs.queue import JOBS
from app.repositories.realtime import sequence_once

# What a queue worker sends. It cannot be asked to do this itself, since its own connection would not see the
# rows of a test's transaction.
TAKE = text("SELECT id, task_name, args FROM procrastinate_fetch_job_v2(NULL, NULL)")
FINISH = text("SELECT procrastinate_finish_job_v1(:id, 'succeeded', false)")


async def handle_events(database: Database) -> None:
    """Put every emitted event into the log, run its handlers and every job that is due, those they queue too.

    What a handler or a job raises is raised here; nothing is tried again, and jobs scheduled ahead stay.
    """
    load_areas()
    while await sequence(database) or await _run_job(database):
        pass


async def sequence(database: Database) -> bool:
    """Move what waits in the outbox; whether there was anything."""
    async with database.system() as session:
        turn = await sequence_once(session)
        await session.commit()
    assert turn.taken >= 0, "another sequencer works on the database of this test"
    return turn.taken > 0


async def _run_job(database: Database) -> bool:
    """Take one due job, run it and mark it; whether there was one."""
    async with database.system() as session:
        taken = (await session.execute(TAKE)).one()
        await session.commit()
    if taken.id is None:
        return False
    await JOBS[taken.task_name].run(database, **taken.args)
    async with database.system() as session:
        await session.execute(FINISH, {"id": taken.id})
        await session.commit()
    return True


@contextmanager
def own_registry() -> Iterator[None]:
    """Forget at the end of the block which event classes, handlers and jobs were declared in it."""
    load_areas()
    kept = [(registry, dict(registry)) for registry in (REGISTRY, HANDLERS, JOBS)]
    try:
        yield
    finally:
        for registry, before in kept:
            registry.clear()
            registry.update(before)  # type: ignore[arg-type]  # each gets back what it held


class Numbered(Event):
    """What tests know of the classes that `declare_event` makes."""

    def __init__(self, *, number: int) -> None:
        raise NotImplementedError("a declared class has an initialiser of its own")


def declare_event(
    kind: str = "test.happened",
    *,
    audience: Audience = "internal",
    permission: Permission | None = None,
    handlers: tuple[str, ...] = (),
) -> type[Numbered]:
    """An event class for one test, with a number as its payload; declare it inside `own_registry()`."""

    @dataclass(frozen=True, kw_only=True)
    class Declared(Numbered):
        type: ClassVar = kind
        description: ClassVar = "Something happened in a test."
        number: int

    Declared.audience, Declared.read_permission, Declared.handlers = audience, permission, handlers
    return Declared
