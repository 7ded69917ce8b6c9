"""The log as streams read it: in the order of its positions, for all topics or for some."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, func, select, text
from sqlalchemy.exc import DBAPIError

from app.core.database import ScopedSession
from app.core.errors import sqlstate
from app.models.realtime import EventEpoch, EventLog

# Each topic is read through its own index from the position on, so that the cost is that of what is found.
OF_TOPICS = """
    SELECT found.pos FROM unnest(CAST(:topics AS text[])) AS wanted (topic) CROSS JOIN LATERAL (
        SELECT l.pos FROM event_log l
        WHERE l.topic = wanted.topic AND l.pos > :after AND l.pos <= :upto
          AND (l.audience <> 'organization' OR l.type = ANY(CAST(:readable AS text[])))
          AND (CAST(:types AS text[]) IS NULL OR l.type = ANY(CAST(:types AS text[])))
        ORDER BY l.pos LIMIT :limit) AS found
    UNION
    SELECT found.pos FROM unnest(CAST(:topics AS text[])) AS wanted (topic) CROSS JOIN LATERAL (
        SELECT l.pos FROM event_log l
        WHERE l.extra_topic = wanted.topic AND l.pos > :after AND l.pos <= :upto
          AND (CAST(:types AS text[]) IS NULL OR l.type = ANY(CAST(:types AS text[])))
        ORDER BY l.pos LIMIT :limit) AS found
"""

PAGE = text(
    f"""
    SELECT l.pos, l.type, l.audience, l.topic, l.extra_topic, l.organization_id, l.body
    FROM event_log l JOIN ({OF_TOPICS} ORDER BY pos LIMIT :limit) AS page ON page.pos = l.pos
    ORDER BY l.pos
    """  # noqa: S608 - the text above, without any value
)

COUNT = text(f"SELECT count(*) FROM ({OF_TOPICS} LIMIT :limit) AS counted")  # noqa: S608 - as above

SYSTEM_IDENTIFIER = text("SELECT CAST(system_identifier AS text) FROM pg_control_system()")
TIMELINE = text("SELECT CAST(timeline_id AS text) FROM pg_control_checkpoint()")

BEARINGS = select(
    EventEpoch.salt,
    func.greatest(select(func.max(EventLog.pos)).scalar_subquery(), EventEpoch.resume_floor),
    EventEpoch.resume_floor,
)
"""A log that was pruned to nothing still knows its last position by its floor; `greatest` skips null."""

REFUSED = "42"
"""The class of states in which a host answers that a function is forbidden or missing."""


class LogRow(NamedTuple):
    """An event as streams need it."""

    pos: int
    type: str
    audience: str
    topic: str
    extra_topic: str | None
    organization_id: UUID | None
    body: str


class Wanted(NamedTuple):
    """What a reader may and wants to read: topics, organisation types it may read, types it asked for."""

    topics: Sequence[str]
    readable: Sequence[str]
    types: Sequence[str] | None


class Bearings(NamedTuple):
    """What a cursor is judged by: the epoch's salt, the last position, the first that is resumed from."""

    salt: str
    head: int
    floor: int


class LogReader:
    """Reads the log by position, for whoever has judged who may see what."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def bearings(self) -> Bearings:
        """The salt of the epoch, the head and the floor of the log."""
        row = (await self.session.execute(BEARINGS)).one()
        return Bearings(*row)

    async def server(self) -> tuple[str, str]:
        """The system identifier and the timeline of the server; empty where its host forbids to ask."""
        return await self._allowed(SYSTEM_IDENTIFIER), await self._allowed(TIMELINE)

    async def _allowed(self, question: TextClause) -> str:
        try:
            answer: str = (await self.session.execute(question)).scalar_one()
        except DBAPIError as error:
            if (sqlstate(error) or "").startswith(REFUSED):
                return ""
            raise
        return answer

    async def after(self, position: int, limit: int) -> list[LogRow]:
        """What follows a position, whosever it is."""
        statement = (
            select(
                EventLog.pos,
                EventLog.type,
                EventLog.audience,
                EventLog.topic,
                EventLog.extra_topic,
                EventLog.organization_id,
                EventLog.body,
            )
            .where(EventLog.pos > position)
            .order_by(EventLog.pos)
            .limit(limit)
        )
        return [LogRow(*row) for row in (await self.session.execute(statement)).all()]

    async def page(self, wanted: Wanted, *, after: int, upto: int, limit: int) -> list[LogRow]:
        """The first events of a reader between two positions, the upper one included."""
        rows = await self.session.execute(PAGE, _values(wanted, after, upto, limit))
        return [LogRow(*row) for row in rows]

    async def count(self, wanted: Wanted, *, after: int, upto: int, limit: int) -> int:
        """How many events of a reader lie between two positions, counted up to `limit`."""
        found: int = (await self.session.execute(COUNT, _values(wanted, after, upto, limit))).scalar_one()
        return found


def _values(wanted: Wanted, after: int, upto: int, limit: int) -> dict[str, object]:
    return {
        "topics": list(wanted.topics),
        "readable": list(wanted.readable),
        "types": None if wanted.types is None else list(wanted.types),
        "after": after,
        "upto": upto,
        "limit": limit,
    }
