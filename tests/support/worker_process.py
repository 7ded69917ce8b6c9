"""Real worker processes for fault tests, started from a fork server so that they are there in no time."""

import asyncio
import logging
import multiprocessing
from multiprocessing.context import ForkServerProcess
from uuid import UUID

from sqlalchemy import text

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.jobs.app import load_areas
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import job
from app.jobs.worker import run_worker
from tests.support.events import Numbered, declare_event

TABLES = ("CREATE TABLE effects (event_id uuid NOT NULL)", "CREATE TABLE starts (number int NOT NULL)")
EFFECT = text("INSERT INTO effects (event_id) VALUES (:event_id)")
START = text("INSERT INTO starts (number) VALUES (1)")
COUNT_STARTS = text("SELECT count(*) FROM starts")

_processes = multiprocessing.get_context("forkserver")

load_areas()  # The fork server imports this module, so that its processes find everything there.


def happened() -> type[Numbered]:
    """The event class whose handler leaves one row in `effects` each time that it works."""
    return declare_event("test.happened", handlers=("effect",))


def start_worker(url: str, *, wake: str = "listen") -> ForkServerProcess:
    """Start a worker process over the database at `url`, which needs TABLES."""
    _processes.set_forkserver_preload([__name__])
    process = _processes.Process(target=_work, args=(url, wake))
    process.start()
    return process


def _work(url: str, wake: str) -> None:
    """What the process does until it is told to stop, or killed."""
    logging.disable(logging.ERROR)
    happened()
    handler("effect")(_leave_effect)
    job("test.stuck", queue="default")(_get_stuck_once)
    changes = {"events_wake": wake, "database_pool_size": 4, "worker_concurrency": 4}
    settings = get_settings().model_copy(update=changes)
    asyncio.run(run_worker(settings, url))


async def _leave_effect(session: SystemSession, event: EventRow) -> None:
    await session.execute(EFFECT, {"event_id": event.event_id})


async def _get_stuck_once(database: Database, *, event_id: str) -> None:
    """The first start never ends; the second leaves an effect."""
    async with database.transaction() as session:
        await session.execute(START)
        starts = await session.scalar(COUNT_STARTS)
    if starts == 1:
        await asyncio.sleep(600)
    async with database.transaction() as session:
        await session.execute(EFFECT, {"event_id": UUID(event_id)})
