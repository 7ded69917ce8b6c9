"""The worker: sequencer and job queues in one process, be it that of `serve` or one of its own."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence

from procrastinate.worker import Worker as QueueWorker

from app.core.config import Settings, get_settings
from app.core.database import Database, create_engine
from app.jobs.app import libpq, queue_app
from app.jobs.queue import QUICK_QUEUES, SLOW_QUEUES, WAITING_QUEUES
from app.jobs.sequencer import Sequencer
from app.jobs.starting import ask_at_start
from app.jobs.upkeep import SILENT_FOR

SLOW_CONCURRENCY = 2
WAITING_CONCURRENCY = 256
"""Requests to customers' servers at once. One that hangs costs some 40 KiB, and no place of anything else."""

CONNECTIONS = 4
"""Of the queue's own connections per queue worker; jobs work over those of the database they are given.

Jobs that wait for customers' servers have as many of their own.
"""

STOP_SECONDS = 10.0
GRACE_SECONDS = 8.0
BACK_OFF = (0.2, 1.0, 2.0, 5.0)
WORKED_SECONDS = 60.0
"""Whoever has worked for so long comes back as soon as after a first failure."""


log = logging.getLogger(__name__)


class Worker:
    """Runs events and jobs until it is stopped; a database that vanishes is waited for."""

    def __init__(self, database: Database, settings: Settings | None = None) -> None:
        """Jobs work with `database`. The queue and the sequencer have connections of their own to the same
        one, or to DATABASE_LISTEN_URL where that is a pooler.
        """
        self._database = database
        self._settings = settings or get_settings()
        self._url = self._settings.database_listen_url or database.engine.url
        self._sequencer: Sequencer | None = None
        self._queues: set[QueueWorker] = set()
        self._waiting: Database | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Begin to work, in tasks of the running loop. Returns at once, also while the database is away."""
        self._stopping.clear()
        self._sequencer = Sequencer(self._url, pause=self._settings.events_sequence_ms / 1000)
        # Hundreds of them may end at once; requests of people do not queue behind them for a connection.
        self._waiting = Database(
            create_engine(
                self._database.engine.url, pool_size=CONNECTIONS, application_name="luneo-waiting-jobs"
            )
        )
        self._tasks = [
            asyncio.create_task(self._sequencer.run(), name="sequencer"),
            asyncio.create_task(
                self._work(self._database, QUICK_QUEUES, self._settings.worker_concurrency, is_first=True),
                name="quick queues",
            ),
            asyncio.create_task(
                self._work(self._waiting, WAITING_QUEUES, WAITING_CONCURRENCY), name="waiting queues"
            ),
            asyncio.create_task(
                self._work(self._database, SLOW_QUEUES, SLOW_CONCURRENCY), name="slow queues"
            ),
        ]

    async def stop(self, timeout: float = STOP_SECONDS) -> None:  # noqa: ASYNC109 - the queue keeps this limit
        """Take no more jobs; after `timeout` seconds return those that still run to the queue.

        Raises nothing when the database is away; what was running then is rescued by another worker.
        """
        self._stopping.set()
        for queue in self._queues:
            queue.shutdown_graceful_timeout = timeout
            queue.stop()  # type: ignore[no-untyped-call]  # the library leaves it without types
        if self._sequencer:
            self._sequencer.stop()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout + GRACE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._waiting is not None:
            await self._waiting.dispose()

    async def _work(
        self, database: Database, queues: Sequence[str], concurrency: int, *, is_first: bool = False
    ) -> None:
        """Keep one queue worker running. The library's own ends when it loses the database."""
        failures = 0
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._work_once(database, queues, concurrency, is_first=is_first)
            except Exception as error:
                log.warning("The queues %s have stopped: %s", ", ".join(queues), error.__cause__ or error)
            has_worked = asyncio.get_running_loop().time() - began > WORKED_SECONDS
            failures = 1 if has_worked else failures + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BACK_OFF[min(failures, len(BACK_OFF)) - 1]):
                    await self._stopping.wait()

    async def _work_once(
        self, database: Database, queues: Sequence[str], concurrency: int, *, is_first: bool
    ) -> None:
        """Run one queue worker until it stops or fails. The first of a process has schedules and listens."""
        settings = self._settings
        app = queue_app(
            database, libpq(self._url), size=min(CONNECTIONS, concurrency), has_schedules=is_first
        )
        async with app.open_async():
            if self._stopping.is_set():
                return
            worker = QueueWorker(
                app,
                queues=list(queues),  # psycopg would send a tuple as a record
                name=queues[0],
                concurrency=concurrency,
                fetch_job_polling_interval=settings.worker_poll_ms / 1000,
                shutdown_graceful_timeout=STOP_SECONDS,
                listen_notify=is_first and settings.events_wake == "listen",
                install_signal_handlers=False,
                stalled_worker_timeout=SILENT_FOR.total_seconds(),
            )
            if is_first:
                await ask_at_start(database)
            self._queues.add(worker)
            try:
                await worker.run()  # type: ignore[no-untyped-call]  # as above
            finally:
                self._queues.discard(worker)


async def run_worker(settings: Settings, url: str | None = None) -> None:
    """Be a worker process until SIGTERM or SIGINT, over `url` or else `DATABASE_URL`."""
    address = url or settings.database_url
    if address is None:
        raise ValueError("a worker of its own needs DATABASE_URL")
    database = Database(
        create_engine(address, pool_size=settings.database_pool_size, application_name="luneo-worker")
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    worker = Worker(database, settings)
    await worker.start()
    try:
        await stopping.wait()
    finally:
        await worker.stop()
        await database.dispose()
