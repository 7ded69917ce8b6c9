"""Questions to the job library's tables. They have no owner; only handlers, jobs and the worker ask them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Integer, Interval, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

from app.core.database import ScopedSession

# A plain insert, as the library's own function does it, but of any number of jobs, and one that passes over a
# taken queueing lock instead of breaking off the transaction.
ADD = text(
    """
    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
    SELECT :queue, :name, :priority, job.lock, job.queueing_lock, job.arguments, job.at
    FROM jsonb_to_recordset(:jobs) AS job (lock text, queueing_lock text, arguments jsonb, at timestamptz)
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
    RETURNING id
    """
).bindparams(
    bindparam("queue", type_=Text()),
    bindparam("name", type_=Text()),
    bindparam("priority", type_=Integer()),
    bindparam("jobs", type_=JSONB()),
)

HASTEN = text(
    """
    UPDATE procrastinate_jobs SET scheduled_at = :at
    WHERE queueing_lock = :queueing_lock AND status = 'todo' AND scheduled_at > COALESCE(:at, now())
    RETURNING id
    """
).bindparams(bindparam("at", type_=TIMESTAMP(timezone=True)))

# `attempts` counts the starts that came to an end, the started events count all of them. What is missing was
# cut off with its worker: this time and at each earlier rescue. The queueing lock is dropped because a
# successor may wait already, and only one waiting job may hold it.
RESCUE = text(
    """
    WITH stalled AS (
        SELECT j.id,
               j.abort_requested OR (
                   SELECT count(*) FROM procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started'
               ) - j.attempts > :rescues AS is_over
        FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
        WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - :silent_for)
        FOR UPDATE OF j SKIP LOCKED
    )
    UPDATE procrastinate_jobs j
    SET status = (CASE WHEN s.is_over THEN 'failed' ELSE 'todo' END)::procrastinate_job_status,
        worker_id = NULL, queueing_lock = NULL, abort_requested = false
    FROM stalled s WHERE j.id = s.id
    RETURNING j.id, j.task_name, j.status::text
    """
).bindparams(bindparam("rescues", type_=Integer()), bindparam("silent_for", type_=Interval()))

PRUNE = text(
    """
    DELETE FROM procrastinate_jobs WHERE id IN (
        SELECT j.id FROM procrastinate_jobs j
        WHERE j.status::text = ANY (:statuses)
          AND (SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id) < :before
        ORDER BY j.id LIMIT :limit)
    """
).bindparams(bindparam("statuses", type_=ARRAY(Text())), bindparam("before", type_=TIMESTAMP(timezone=True)))


class NewJob(NamedTuple):
    """A job that is to wait; `arguments` are JSON."""

    arguments: Mapping[str, Any]
    lock: str | None = None
    queueing_lock: str | None = None
    at: datetime | None = None


class Rescued(NamedTuple):
    """A job that was taken from a dead worker: waiting again, or `failed` when that happened too often."""

    job_id: int
    name: str
    status: str


class JobRepository:
    """The queue as rows."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def add(
        self,
        *,
        name: str,
        queue: str,
        priority: int,
        arguments: Mapping[str, Any],
        lock: str | None,
        queueing_lock: str | None,
        at: datetime | None,
    ) -> int | None:
        """Insert a waiting job; its id, or None when another one waits with the same queueing lock."""
        job = NewJob(arguments, lock=lock, queueing_lock=queueing_lock, at=at)
        added = await self.add_all([job], name=name, queue=queue, priority=priority)
        return added[0] if added else None

    async def add_all(
        self, jobs: Sequence[NewJob], *, name: str, queue: str, priority: int = 0
    ) -> Sequence[int]:
        """Insert waiting jobs of a kind with one statement; the ids of those whose queueing lock was free."""
        if not jobs:
            return []
        rows = [job._asdict() | {"at": job.at.isoformat() if job.at is not None else None} for job in jobs]
        values = {"name": name, "queue": queue, "priority": priority, "jobs": rows}
        return (await self.session.execute(ADD, values)).scalars().all()

    async def hasten(self, queueing_lock: str, at: datetime | None) -> int | None:
        """Bring forward the job that waits with this lock; its id, or None when none waits longer."""
        identifier: int | None = await self.session.scalar(HASTEN, {"queueing_lock": queueing_lock, "at": at})
        return identifier

    async def rescue(self, *, silent_for: timedelta, rescues: int) -> Sequence[Rescued]:
        """Return the running jobs of workers without a heartbeat for `silent_for` to the queue.

        A job that was rescued `rescues` times before becomes `failed`; so does one that was being cancelled.
        """
        rows = await self.session.execute(RESCUE, {"silent_for": silent_for, "rescues": rescues})
        return [Rescued(*row) for row in rows]

    async def prune(self, statuses: Sequence[str], *, before: datetime, limit: int) -> int:
        """Delete up to `limit` jobs that came to an end before that moment; how many there were."""
        found = await self.session.execute(
            PRUNE, {"statuses": list(statuses), "before": before, "limit": limit}
        )
        return int(found.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a CursorResult
