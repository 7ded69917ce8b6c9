"""Notices as they are made: many at once, and away again when they are old or nobody's."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.models.notifications import Notification
from app.repositories.base import Repository


class NoticeRepository(Repository[Notification]):
    """What handlers and jobs write of notices; each statement names its people or its age."""

    model = Notification

    async def add_all(self, rows: Sequence[Mapping[str, Any]]) -> dict[UUID, UUID]:
        """Insert notices with one statement; answers the ids of the new ones by person."""
        if not rows:
            return {}
        statement = (
            insert(Notification)
            .values([dict(row) for row in rows])
            .on_conflict_do_nothing(index_elements=["user_id", "dedupe_key"])
            .returning(Notification.user_id, Notification.id)
        )
        return {row[0]: row[1] for row in await self.session.execute(statement)}

    async def unread_counts(self, people: Collection[UUID]) -> dict[UUID, int]:
        """How many unread notices each of them has."""
        statement = (
            select(Notification.user_id, func.count())
            .where(Notification.user_id.in_(list(people)), Notification.is_read.is_(False))
            .group_by(Notification.user_id)
        )
        return {row[0]: row[1] for row in await self.session.execute(statement)}

    async def forget_of(self, organization_id: UUID, user_id: UUID) -> int:
        """Remove a person's notices of an organisation; answers how many they were."""
        gone = await self.session.execute(
            delete(Notification)
            .where(Notification.organization_id == organization_id, Notification.user_id == user_id)
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.all())

    async def forget_old(self, before: datetime, limit: int) -> int:
        """Remove old notices in a small step; answers how many went."""
        old = select(Notification.id).where(Notification.created_at < before).limit(limit)
        gone = await self.session.execute(
            delete(Notification)
            .where(Notification.id.in_(old))
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.all())

    async def people_with_more(self, most: int, limit: int) -> Sequence[UUID]:
        """People who have more notices than this."""
        statement = (
            select(Notification.user_id)
            .group_by(Notification.user_id)
            .having(func.count() > most)
            .order_by(Notification.user_id)
            .limit(limit)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def forget_beyond(self, user_id: UUID, most: int, limit: int) -> int:
        """Remove a person's oldest notices beyond the newest `most`, in a small step; how many went."""
        beyond = (
            select(Notification.id)
            .where(Notification.user_id == user_id)
            .order_by(Notification.created_at.desc(), Notification.id.desc())
            .offset(most)
            .limit(limit)
        )
        gone = await self.session.execute(
            delete(Notification)
            .where(Notification.id.in_(beyond))
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.all())
