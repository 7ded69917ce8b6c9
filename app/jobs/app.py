"""The worker's door: the areas' jobs, the queue's address, and the library's application over them."""

import asyncio
import importlib
import logging
import pkgutil
from collections.abc import Iterable
from typing import Any

import procrastinate
from procrastinate import JobContext
from procrastinate.jobs import Job as QueuedJob
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from sqlalchemy import URL

import app.jobs
import app.services
from app.core.database import Database
from app.core.migrations import driver_url
from app.jobs.queue import JOBS, Job
from app.jobs.upkeep import give_up

log = logging.getLogger(__name__)


def load_areas() -> None:
    """Import every area's jobs, handlers, event classes, mails and representations: all are registered."""
    for module in pkgutil.iter_modules(app.jobs.__path__, "app.jobs."):
        importlib.import_module(module.name)
    for module in pkgutil.walk_packages(app.services.__path__, "app.services."):
        if module.name.endswith((".events", ".mails", ".representations")):
            importlib.import_module(module.name)


def libpq(url: str | URL) -> str:
    """The address as libpq reads it, whichever driver the given one names.

    What only SQLAlchemy or asyncpg understand (`prepared_statement_cache_size` and the like) is left out.
    """
    address = driver_url(url)
    _, options = address.get_dialect()().create_connect_args(address)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return make_conninfo("", **{name: value for name, value in options.items() if name in known})


class Steps(BaseRetryStrategy):
    """Runs a job again after each of some pauses, and at once when its worker is being stopped.

    Without the second rule the library gives up a job that outlasts the patience of a stop.
    """

    def __init__(self, seconds: tuple[int, ...]) -> None:
        self.seconds = seconds

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:
        """When the job runs again, or None for never."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        if job.attempts < len(self.seconds):
            return RetryDecision(retry_in={"seconds": self.seconds[job.attempts]})
        return None


class AnyQueueManager(JobManager):
    """Listens where the sequencer calls. The library would listen to one channel per queue instead."""

    async def listen_for_jobs(
        self,
        *,
        on_notification: NotificationCallback,
        queues: Iterable[str] | None = None,  # noqa: ARG002 - see below
    ) -> None:
        """Wake the worker at the sequencer's call, whatever its queues are."""
        await super().listen_for_jobs(on_notification=on_notification, queues=None)


def queue_app(database: Database, address: str, *, size: int, has_schedules: bool) -> procrastinate.App:
    """The library's application with every registered job, over up to `size` connections to `address`.

    Jobs work with `database`. One application of a process has the schedules.
    """
    load_areas()
    connector = procrastinate.PsycopgConnector(
        conninfo=address,
        min_size=1,
        max_size=size,
        timeout=3.0,
        kwargs={
            "application_name": "luneo-jobs",
            "connect_timeout": 5,
            "keepalives_idle": 15,
            "options": "-c statement_timeout=30s -c timezone=UTC",
        },
    )
    queue = procrastinate.App(connector=connector)
    queue.job_manager = AnyQueueManager(connector)
    for kind in JOBS.values():
        task = queue.task(
            name=kind.name,
            queue=kind.queue,
            priority=kind.priority,
            queueing_lock=kind.name if kind.cron else None,
            retry=Steps(kind.retry_after),
            pass_context=True,
        )(_runner(database, kind))
        if kind.cron and has_schedules:
            queue.periodic(cron=kind.cron)(task)
    return queue


def _runner(database: Database, kind: Job) -> Any:
    """The function that the library calls for jobs of this kind."""

    async def run(context: JobContext, **arguments: Any) -> None:
        if kind.cron:
            arguments.pop("timestamp", None)
        try:
            await kind.run(database, **arguments)
        except Exception:
            if context.job.attempts >= len(kind.retry_after):
                give_up(kind.name, context.job.id)
            else:
                log.warning("Job %s (%s) will run again", kind.name, context.job.id, exc_info=True)
            raise

    return run
