"""The log as a list, of what its reader may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, literal, select

from app.core.database import OwnerSession
from app.models.realtime import EventLog


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """What narrows a list of events; None does not."""

    types: Sequence[str] | None = None
    object_type: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class EventPullRepository:
    """Events of the caller's organisation that its permissions cover, and the person's own."""

    def __init__(self, session: OwnerSession) -> None:
        self.session = session

    async def find(self, event_id: UUID) -> tuple[int, str] | None:
        """Position and envelope of an event."""
        statement = select(EventLog.pos, EventLog.body).where(EventLog.event_id == event_id)
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def page(
        self,
        wanted: EventFilter,
        *,
        is_descending: bool,
        beyond: int | None,
        offset: int,
        limit: int,
    ) -> list[tuple[int, str]]:
        """Positions and envelopes beyond a position, in the order of positions."""
        statement = _of(wanted)
        if beyond is not None:
            statement = statement.where(EventLog.pos < beyond if is_descending else EventLog.pos > beyond)
        order = EventLog.pos.desc() if is_descending else EventLog.pos.asc()
        rows = await self.session.execute(statement.order_by(order).offset(offset).limit(limit))
        return [(row[0], row[1]) for row in rows]

    async def count(self, wanted: EventFilter, *, beyond: int | None, cap: int) -> int:
        """How many there are after a position, counted up to `cap`."""
        statement = _of(wanted)
        if beyond is not None:
            statement = statement.where(EventLog.pos > beyond)
        some = statement.with_only_columns(literal(1)).select_from(EventLog).limit(cap)
        return int((await self.session.scalar(select(func.count()).select_from(some.subquery()))) or 0)


def _of(wanted: EventFilter) -> Select[int, str]:
    statement = select(EventLog.pos, EventLog.body)
    if wanted.types is not None:
        statement = statement.where(EventLog.type.in_(wanted.types))
    if wanted.object_type is not None:
        statement = statement.where(EventLog.object_type == wanted.object_type)
    if wanted.object_id is not None:
        statement = statement.where(EventLog.object_id == wanted.object_id)
    if wanted.since is not None:
        statement = statement.where(EventLog.occurred_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(EventLog.occurred_at < wanted.until)
    return statement
