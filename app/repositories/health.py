"""What probes and `doctor` ask the database. Unscoped: none of it belongs to anybody."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from app.core.database import ScopedSession
from app.core.migrations import is_at_head

LAG_SQL = text(
    """
    SELECT
        (SELECT extract(epoch FROM clock_timestamp() - occurred_at)
           FROM event_outbox ORDER BY id LIMIT 1) AS outbox_seconds,
        (SELECT max(extract(epoch FROM clock_timestamp() - coalesce(due.scheduled_at, due.deferred_at)))
           FROM (SELECT j.scheduled_at, (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id)
                        AS deferred_at
                   FROM procrastinate_jobs j
                  WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
                  ORDER BY j.id LIMIT 100) due) AS job_seconds,
        (SELECT min(extract(epoch FROM clock_timestamp() - last_heartbeat))
           FROM procrastinate_workers) AS worker_seconds
    """
)
"""The oldest of what waits: the outbox's first row, and of the due jobs the first hundred."""


@dataclass(frozen=True)
class Lag:
    """Seconds that the oldest thing has waited, and since the last sign of a worker; None without any."""

    outbox_seconds: float | None
    job_seconds: float | None
    worker_seconds: float | None


@dataclass(frozen=True)
class Server:
    """The database server: its version as PostgreSQL counts it (140005 is 14.5), and its clock."""

    version: int
    now: datetime


class HealthRepository:
    """Questions about the state of the database."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def server(self) -> Server:
        """Which server answers, and what its clock says."""
        row = (
            await self.session.execute(
                text("SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS now")
            )
        ).one()
        return Server(row.version, row.now)

    async def is_migrated(self) -> bool:
        """Whether every migration of this code has been run."""
        return await is_at_head(await self.session.connection())

    async def newest_sealed(self) -> tuple[UUID, bytes] | None:
        """The sealed column that was written last, with the id of its row: a session's refresh key."""
        row = (
            await self.session.execute(
                text("SELECT id, refresh_key_sealed FROM sessions ORDER BY id DESC LIMIT 1")
            )
        ).one_or_none()
        return (row.id, row.refresh_key_sealed) if row else None

    async def lag(self) -> Lag:
        """How long events and jobs wait, and when a worker was last alive."""
        row = (await self.session.execute(LAG_SQL)).one()
        return Lag(
            *(
                None if value is None else float(value)
                for value in (row.outbox_seconds, row.job_seconds, row.worker_seconds)
            )
        )

    async def replace_epoch_salt(self, salt: str) -> None:
        """Make every stream cursor that was given out unknown, so that clients load afresh."""
        await self.session.execute(text("UPDATE event_epochs SET salt = :salt WHERE id = 1"), {"salt": salt})
