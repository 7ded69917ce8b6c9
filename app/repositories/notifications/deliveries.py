"""How people were told: one row for each way, for ninety days."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from app.models.notifications import NotificationDelivery
from app.repositories.base import Repository


class DeliveryRepository(Repository[NotificationDelivery]):
    """Deliveries, for the person they went to and for the jobs that make them."""

    model = NotificationDelivery

    async def add_all(self, rows: Sequence[Mapping[str, Any]]) -> set[UUID]:
        """Insert rows with one statement; answers the ids of those whose key was not known yet."""
        if not rows:
            return set()
        statement = (
            insert(NotificationDelivery)
            .values([dict(row) for row in rows])
            .on_conflict_do_nothing(index_elements=["user_id", "dedupe_key"])
            .returning(NotificationDelivery.id)
        )
        return set((await self.session.execute(statement)).scalars())

    async def adopt_mails(self, rows: Sequence[Mapping[str, Any]]) -> set[UUID]:
        """Insert the rows of mails, or give each mail to the row that waits for one under the same key.

        One row for each key. Answers the mails that have a row now; the others' keys have their mail already.
        """
        if not rows:
            return set()
        statement = insert(NotificationDelivery).values([dict(row) for row in rows])
        adopted = statement.on_conflict_do_update(
            index_elements=["user_id", "dedupe_key"],
            set_={"email_id": statement.excluded.email_id},
            where=NotificationDelivery.email_id.is_(None) & (NotificationDelivery.state == "queued"),
        ).returning(NotificationDelivery.email_id)
        return {email_id for email_id in (await self.session.execute(adopted)).scalars() if email_id}

    async def finish_mail(self, email_id: UUID, **values: Any) -> None:
        """Record how a mail ended; a mail without a row (nobody's, or of long ago) changes nothing."""
        await self.session.execute(
            update(NotificationDelivery).where(NotificationDelivery.email_id == email_id).values(**values)
        )

    async def finish(self, delivery_id: UUID, **values: Any) -> None:
        """Record how one delivery ended."""
        await self.session.execute(
            update(NotificationDelivery).where(NotificationDelivery.id == delivery_id).values(**values)
        )

    def history(self, *, channel: str | None, state: str | None, category: str | None) -> Select[Any]:
        """The caller's own deliveries."""
        statement = self.select()
        wanted = {"channel": channel, "state": state, "category": category}
        for name, value in wanted.items():
            if value is not None:
                statement = statement.where(getattr(NotificationDelivery, name) == value)
        return statement

    async def forget(self, before: datetime, limit: int) -> int:
        """Remove old rows in a small step; answers how many went."""
        old = select(NotificationDelivery.id).where(NotificationDelivery.created_at < before).limit(limit)
        gone = await self.session.execute(
            delete(NotificationDelivery)
            .where(NotificationDelivery.id.in_(old))
            .returning(NotificationDelivery.id)
        )
        return len(gone.all())
