"""The log as a list, of what its reader may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, asc, desc, func, select, union_all

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

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL; who may see what is not among them."""
        found: list[ColumnElement[bool]] = []
        if self.types is not None:
            found.append(EventLog.type.in_(self.types))
        if self.object_type is not None:
            found.append(EventLog.object_type == self.object_type)
        if self.object_id is not None:
            found.append(EventLog.object_id == self.object_id)
        if self.since is not None:
            found.append(EventLog.occurred_at >= self.since)
        if self.until is not None:
            found.append(EventLog.occurred_at < self.until)
        return found


class EventPullRepository:
    """Events of the caller's organisation that its permissions cover, and the person's own.

    Each topic is read through its own index: no order by position alone finds the events of one
    organisation among those of all others.
    """

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
        conditions = wanted.conditions()
        if beyond is not None:
            conditions.append(EventLog.pos < beyond if is_descending else EventLog.pos > beyond)
        direction = desc if is_descending else asc
        first = select(EventLog.pos, EventLog.body).where(*conditions).order_by(direction(EventLog.pos))
        found = self._of_topics(first.limit(offset + limit))
        statement = select(found.c.pos, found.c.body).order_by(direction(found.c.pos))
        rows = await self.session.execute(statement.offset(offset).limit(limit))
        return [(row[0], row[1]) for row in rows]

    async def count(self, wanted: EventFilter, *, beyond: int | None, cap: int) -> int:
        """How many there are after a position, counted up to `cap`."""
        conditions = wanted.conditions()
        if beyond is not None:
            conditions.append(EventLog.pos > beyond)
        found = self._of_topics(select(EventLog.pos).where(*conditions).limit(cap))
        some = select(found.c.pos).limit(cap).subquery()
        return int((await self.session.scalar(select(func.count()).select_from(some))) or 0)

    def _of_topics(self, statement: Select[*tuple[Any, ...]]) -> Subquery:
        """What a statement finds on each of the caller's topics."""
        principal = self.session.principal
        assert principal is not None  # noqa: S101 - the routes ask for a permission
        topics = [f"org:{principal.organization_id}"]
        if principal.kind == "user":
            topics.append(f"user:{principal.user_id}")
        return union_all(*(statement.where(EventLog.topic == topic) for topic in topics)).subquery()
