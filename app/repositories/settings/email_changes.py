"""Owns the questions to changes of address."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import delete, select, update

from app.models.settings import EmailChange
from app.repositories.base import Repository


class EmailChangeRepository(Repository[EmailChange]):
    """Changes of address; the person is locked before their changes."""

    model: ClassVar[type[EmailChange]] = EmailChange

    async def pending_of(self, user_id: UUID, change_id: UUID) -> EmailChange | None:
        """A person's change that waits for its proof."""
        return await self.one(
            EmailChange.id == change_id, EmailChange.user_id == user_id, EmailChange.status == "pending"
        )

    async def finish_pending(self, user_id: UUID, status: str) -> None:
        """Say how the change ended that waited for its proof, if there was one."""
        await self.session.execute(
            update(EmailChange)
            .where(EmailChange.user_id == user_id, EmailChange.status == "pending")
            .values(status=status)
            .execution_options(synchronize_session=False)
        )

    async def cancel_pending(self, user_id: UUID) -> None:
        """Forget the change that waits for its proof, if there is one."""
        await self.session.execute(
            delete(EmailChange).where(EmailChange.user_id == user_id, EmailChange.status == "pending")
        )

    async def undo_later(self, user_id: UUID, since: datetime) -> Sequence[UUID]:
        """Mark the changes that were confirmed after a moment as undone; their ids."""
        statement = (
            update(EmailChange)
            .where(
                EmailChange.user_id == user_id,
                EmailChange.status == "confirmed",
                EmailChange.confirmed_at > since,
            )
            .values(status="undone")
            .returning(EmailChange.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def overdue(self, asked_before: datetime, limit: int) -> Sequence[UUID]:
        """People whose change has waited for its proof since before a moment."""
        statement = (
            select(EmailChange.user_id)
            .where(EmailChange.status == "pending", EmailChange.created_at < asked_before)
            .order_by(EmailChange.created_at)
            .limit(limit)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def expire(self, user_id: UUID, asked_before: datetime) -> bool:
        """Give up a person's change that has waited since before a moment; whether there was one."""
        statement = (
            update(EmailChange)
            .where(
                EmailChange.user_id == user_id,
                EmailChange.status == "pending",
                EmailChange.created_at < asked_before,
            )
            .values(status="expired")
            .returning(EmailChange.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).first() is not None
