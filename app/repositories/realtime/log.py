"""Questions to the event backbone: the outbox, the log, the epoch and the handlings."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import ScopedSession
from app.core.events import EventOutbox
from app.models.realtime import EventHandling, EventLog

SEQUENCE = text(
    "SELECT taken, last_id, last_pos, seen_xmin, seen_xmax FROM sequence_events(CAST(:floor AS bigint))"
)

LAGS = text(
    """
    SELECT type, CAST(extract(epoch FROM sequenced_at - occurred_at) AS float8) AS lag
    FROM event_log WHERE pos BETWEEN :first AND :last
    """
)

_MOMENT = TIMESTAMP(timezone=True)

RAISE_RESUME_FLOOR = text(
    """
    UPDATE event_epochs
    SET resume_floor = greatest(resume_floor, (SELECT max(pos) FROM event_log WHERE sequenced_at < :before))
    """
).bindparams(bindparam("before", type_=_MOMENT))

# A job that has failed still owes its event: an operator may run it again, and it is pruned after 30 days.
PRUNE = text(
    """
    WITH owed AS MATERIALIZED (
        SELECT CAST(args ->> 'event_id' AS uuid) AS event_id FROM procrastinate_jobs
        WHERE task_name = 'events.handle' AND status IN ('todo', 'doing', 'failed')
    ), old AS (
        SELECT l.pos FROM event_log l
        WHERE l.sequenced_at < :topic_before AND (l.audience = 'topic' OR l.sequenced_at < :before)
          AND NOT EXISTS (SELECT FROM owed WHERE owed.event_id = l.event_id)
        LIMIT :limit
    ), gone AS (
        DELETE FROM event_log USING old WHERE event_log.pos = old.pos RETURNING event_log.event_id
    ), forgotten AS (
        DELETE FROM event_handlings h USING gone WHERE h.event_id = gone.event_id
    )
    SELECT count(*) FROM gone
    """
).bindparams(bindparam("topic_before", type_=_MOMENT), bindparam("before", type_=_MOMENT))


class Turn(NamedTuple):
    """What one turn of the sequencer did: `taken` is -1 when another process was at it."""

    taken: int
    last_id: int | None
    last_pos: int | None
    seen_xmin: int | None
    seen_xmax: int | None


async def sequence_once(connection: AsyncConnection | ScopedSession, floor: int = 0) -> Turn:
    """Move up to 500 committed events above the outbox id `floor` into the log, and defer their handling.

    On a connection in autocommit this is a whole turn. In a transaction it holds the sequencer's lock until
    its end, so only a test does that.
    """
    return Turn(*(await connection.execute(SEQUENCE, {"floor": floor})).one())


async def lags_of(connection: AsyncConnection, turn: Turn) -> Iterable[tuple[str, float]]:
    """The type of each event of this turn, and the seconds from its cause to its position.

    The positions of one turn have no holes, since only the holder of the sequencer's lock draws them.
    """
    last = turn.last_pos or 0
    rows = await connection.execute(LAGS, {"first": last - turn.taken + 1, "last": last})
    return [(row.type, row.lag) for row in rows]


class EventLogRepository:
    """The log as its handlers and its caretaker need it."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def find(self, event_id: UUID) -> EventLog | None:
        """The event, unless it was pruned."""
        statement = select(EventLog).where(EventLog.event_id == event_id)
        return (await self.session.execute(statement)).scalar_one_or_none()

    async def claim(self, event_id: UUID, handler: str) -> bool:
        """Record that this handler does its work in this transaction; False when it was done before."""
        statement = (
            insert(EventHandling)
            .values(event_id=event_id, handler=handler)
            .on_conflict_do_nothing()
            .returning(EventHandling.event_id)
        )
        return await self.session.scalar(statement) is not None

    async def forget_private(self, event_id: UUID) -> None:
        """Remove what only handlers might read."""
        await self.session.execute(
            update(EventLog).where(EventLog.event_id == event_id).values(private_sealed=None)
        )

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many events the outbox holds, and when the oldest of them happened."""
        count, oldest = (
            await self.session.execute(select(func.count(), func.min(EventOutbox.occurred_at)))
        ).one()
        return count, oldest

    async def raise_resume_floor(self, before: datetime) -> None:
        """Set the position below which no stream resumes to the newest one older than `before`."""
        await self.session.execute(RAISE_RESUME_FLOOR, {"before": before})

    async def prune(self, *, topic_before: datetime, before: datetime, limit: int) -> int:
        """Delete up to `limit` rows, those of topics sooner than others, none that a handler still owes."""
        moments = {"topic_before": topic_before, "before": before, "limit": limit}
        count: int = (await self.session.execute(PRUNE, moments)).scalar_one()
        return count
