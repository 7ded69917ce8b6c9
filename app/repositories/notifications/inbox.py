"""The notices of one person, as that person reads them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.database import ScopedSession
from app.models.notifications import Notification
from app.repositories.base import Repository


async def lock_notices(session: ScopedSession, people: Collection[UUID]) -> None:
    """Let nobody else tell the tabs of these people how many notices are unread until the transaction ends.

    Whoever tells it counts under this lock, so that what is told last is right. The locks are taken in one
    order, lest two that tell the same people wait for each other.
    """
    if people:
        whose = [f"notifications:{user_id}" for user_id in sorted(people)]
        each = func.unnest(literal(whose, ARRAY(Text())))
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(each, 0))))


class NotificationRepository(Repository[Notification]):
    """Questions to the notices of a person. The person is bound, whatever the session is."""

    model = Notification

    def wanted(self, user_id: UUID, filters: Mapping[str, Any]) -> Select[Any]:
        """The person's notices whose columns have these values; None is no filter."""
        statement = self.select().where(Notification.user_id == user_id)
        for name, value in filters.items():
            if value is not None:
                statement = statement.where(getattr(Notification, name) == value)
        return statement

    async def of(self, user_id: UUID, notification_id: UUID, *, lock: bool = False) -> Notification | None:
        """One of the person's notices."""
        return await self.one(Notification.user_id == user_id, Notification.id == notification_id, lock=lock)

    async def of_ids(self, ids: Collection[UUID]) -> Sequence[Notification]:
        """Those that are still there, whosever they are; the ids come from events of their people."""
        return (await self.session.scalars(self.select().where(Notification.id.in_(ids)))).all()

    async def unread_count(self, user_id: UUID) -> int:
        """How many of the person's notices are unread."""
        statement = (
            select(func.count())
            .select_from(Notification)
            .where(Notification.user_id == user_id, Notification.is_read.is_(False))
        )
        return int((await self.session.execute(statement)).scalar_one())

    async def unread_by_category(self, user_id: UUID) -> dict[str, int]:
        """The same, by category."""
        statement = (
            select(Notification.category, func.count())
            .where(Notification.user_id == user_id, Notification.is_read.is_(False))
            .group_by(Notification.category)
        )
        return {row[0]: row[1] for row in await self.session.execute(statement)}

    async def mark_read(
        self, user_id: UUID, *, before: Notification | None, category: str | None, now: datetime
    ) -> int:
        """Mark unread notices as read, up to one of them in the order of the list; how many it were."""
        statement = update(Notification).where(
            Notification.user_id == user_id, Notification.is_read.is_(False)
        )
        if before is not None:
            there = tuple_(literal(before.created_at), literal(before.id))
            statement = statement.where(tuple_(Notification.created_at, Notification.id) <= there)
        if category is not None:
            statement = statement.where(Notification.category == category)
        marked = await self.session.execute(
            statement.values(is_read=True, read_at=now)
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        return len(marked.all())
