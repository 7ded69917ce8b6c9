"""The jobs that keep the queue and the log in order: rescue, prune and check."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.metrics import JOBS_FAILED, OUTBOX_ROWS
from app.jobs.queue import job
from app.repositories.idempotency import IdempotencyRepository
from app.repositories.jobs import JobRepository
from app.repositories.realtime import EventLogRepository, TicketRepository

SILENT_FOR = timedelta(seconds=60)
"""A worker whose heartbeat is older than this is dead."""

RESCUES = 5
"""How often a job may take its worker down before it is given up."""

SUCCEEDED_KEPT = timedelta(hours=24)
FAILED_KEPT = timedelta(days=30)
RESUMABLE = timedelta(hours=72)
TOPICS_KEPT = timedelta(days=4)
TICKETS_KEPT = timedelta(hours=1)
WAITING_AT_MOST = timedelta(seconds=30)

BATCH = 5_000
"""Rows that one transaction deletes."""

log = logging.getLogger(__name__)


def give_up(name: str, job_id: int | None) -> None:
    """Count a job that became `failed`, and alert the platform's operators."""
    JOBS_FAILED.labels(name).inc()
    log.error("Alert: job %s (%s) has failed and will not run again", name, job_id)


async def rescue_jobs(database: Database, *, silent_for: timedelta = SILENT_FOR) -> int:
    """Return the jobs of dead workers to the queue; how many were found."""
    async with database.transaction() as session:
        rescued = await JobRepository(session).rescue(silent_for=silent_for, rescues=RESCUES)
    for job_id, name, status in rescued:
        if status == "failed":
            give_up(name, job_id)
        else:
            log.warning("Job %s (%s) of a dead worker will run again", name, job_id)
    return len(rescued)


@job("jobs.rescue", queue="default", cron="* * * * * */30", priority=10)
async def rescue(database: Database) -> None:
    """Every 30 seconds, before anything else in its queue."""
    await rescue_jobs(database)


@job("jobs.prune", queue="maintenance", cron="17 * * * *")
async def prune_jobs(database: Database) -> None:
    """Hourly: succeeded jobs after a day, the others that came to an end after 30 days."""
    succeeded, failed = clock.now() - SUCCEEDED_KEPT, clock.now() - FAILED_KEPT
    await _in_batches(
        database, lambda session: JobRepository(session).prune(["succeeded"], before=succeeded, limit=BATCH)
    )
    given_up = ["failed", "cancelled", "aborted"]
    await _in_batches(
        database, lambda session: JobRepository(session).prune(given_up, before=failed, limit=BATCH)
    )


@job("events.prune", queue="maintenance", cron="27 * * * *")
async def prune_events(database: Database) -> None:
    """Hourly: streams resume over three days, topic rows stay for four, others EVENTS_RETENTION_DAYS.

    Tickets of streams, which are good for seconds, go an hour after they were used or have expired.
    """
    now = clock.now()
    retention = timedelta(days=get_settings().events_retention_days)
    async with database.transaction() as session:
        await EventLogRepository(session).raise_resume_floor(now - RESUMABLE)
    await _in_batches(
        database,
        lambda session: EventLogRepository(session).prune(
            topic_before=now - TOPICS_KEPT, before=now - retention, limit=BATCH
        ),
    )
    await _in_batches(
        database, lambda session: TicketRepository(session).prune(now - TICKETS_KEPT, limit=BATCH)
    )


@job("events.check", queue="default", cron="* * * * *", priority=10)
async def check_events(database: Database) -> None:
    """Each minute: alert when the sequencer does not keep up."""
    async with database.system(autocommit=True) as session:
        count, oldest = await EventLogRepository(session).waiting()
    OUTBOX_ROWS.set(count)
    age = clock.now() - oldest if oldest else timedelta()
    if age > WAITING_AT_MOST:
        log.error("Alert: an event has been waiting in the outbox for %.0f seconds", age.total_seconds())


@job("idempotency.prune", queue="maintenance", cron="37 * * * *")
async def prune_idempotency(database: Database) -> None:
    """Hourly: answers to repeated writes that are no longer given."""
    now = clock.now()
    await _in_batches(database, lambda session: IdempotencyRepository(session).prune(before=now, limit=BATCH))


async def _in_batches(database: Database, delete: Callable[[SystemSession], Awaitable[int]]) -> None:
    """Delete in transactions of BATCH rows, so that none holds its locks for long."""
    deleted = BATCH
    while deleted >= BATCH:
        async with database.transaction() as session:
            deleted = await delete(session)
