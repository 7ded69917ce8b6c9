"""The sessions behind open streams, and the tickets that open them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.access import SESSIONS_SQL
from app.core.database import ScopedSession
from app.core.key_access import KEYS_SQL
from app.models.auth import UserSession
from app.models.realtime import RealtimeTicket


def _with_log(facts: TextClause) -> TextClause:
    """The same facts, and in the same moment the `head` and the `floor` of the log."""
    return text(
        f"""
        SELECT s.*, e.resume_floor AS floor,
               greatest((SELECT max(pos) FROM event_log), e.resume_floor) AS head
        FROM ({facts.text}) AS s CROSS JOIN event_epochs e
        """  # noqa: S608 - a statement of ours, without any value
    )


OPENING = _with_log(SESSIONS_SQL)
OPENING_BY_KEY = _with_log(KEYS_SQL)


class StreamSessionRepository:
    """The access check's facts about keys, and about sessions in the organisation asked for."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def facts(self, asked: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Row[Any]]:
        """The row of each session that exists, by session and asked organisation; one statement for all."""
        rows = await self.session.execute(SESSIONS_SQL, _arrays(asked))
        return {(row.id, row.asked_id): row for row in rows}

    async def opening(self, session_id: UUID, asked: UUID | None) -> Row[Any] | None:
        """The row of one session, and in the same moment the `head` and the `floor` of the log."""
        return (await self.session.execute(OPENING, _arrays([(session_id, asked)]))).one_or_none()

    async def facts_of_keys(self, asked: Sequence[tuple[UUID, UUID]]) -> dict[UUID, Row[Any]]:
        """The row of each key that exists, asked for as (organisation, key); one statement for all."""
        rows = await self.session.execute(KEYS_SQL, _key_arrays(asked))
        return {row.id: row for row in rows}

    async def opening_by_key(self, organization_id: UUID, key_id: UUID) -> Row[Any] | None:
        """The row of one key, with the `head` and the `floor` of the log."""
        arrays = _key_arrays([(organization_id, key_id)])
        return (await self.session.execute(OPENING_BY_KEY, arrays)).one_or_none()


class TicketRepository:
    """The tickets of streams."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def add(self, identifier: UUID, session_id: UUID, asked: UUID | None, expires_at: datetime) -> None:
        """Insert a ticket of a session, in the asked organisation or else in its active one."""
        source = select(
            literal(identifier),
            UserSession.user_id,
            UserSession.id,
            literal(asked) if asked else UserSession.organization_id,
            literal(expires_at),
        ).where(UserSession.id == session_id)
        columns = ["id", "user_id", "session_id", "organization_id", "expires_at"]
        await self.session.execute(insert(RealtimeTicket).from_select(columns, source))

    async def use(self, identifier: UUID, now: datetime) -> tuple[UUID, UUID, UUID] | None:
        """Use a ticket up: its person, session and organisation, or None when it is not good any more."""
        statement = (
            update(RealtimeTicket)
            .where(
                RealtimeTicket.id == identifier,
                RealtimeTicket.used_at.is_(None),
                RealtimeTicket.expires_at > now,
            )
            .values(used_at=now)
            .returning(RealtimeTicket.user_id, RealtimeTicket.session_id, RealtimeTicket.organization_id)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1], row[2]) if row else None

    async def prune(self, before: datetime, *, limit: int) -> int:
        """Delete up to `limit` tickets that were used, or expired, before a moment."""
        old = or_(RealtimeTicket.expires_at < before, RealtimeTicket.used_at < before)
        some = select(RealtimeTicket.id).where(old).limit(limit)
        gone = delete(RealtimeTicket).where(RealtimeTicket.id.in_(some)).returning(RealtimeTicket.id).cte()
        count: int = (await self.session.execute(select(func.count()).select_from(gone))).scalar_one()
        return count


def _arrays(asked: Sequence[tuple[UUID, UUID | None]]) -> dict[str, list[UUID | None]]:
    return {"session_ids": [pair[0] for pair in asked], "asked": [pair[1] for pair in asked]}


def _key_arrays(asked: Sequence[tuple[UUID, UUID]]) -> dict[str, list[UUID]]:
    return {"organization_ids": [pair[0] for pair in asked], "key_ids": [pair[1] for pair in asked]}
