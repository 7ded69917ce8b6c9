"""What people want to be told, where that is not what everybody is."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import uuid7
from app.models.notifications import NotificationPreference
from app.repositories.base import Repository

KEYS = ["user_id", "category", "channel"]


class PreferenceRepository(Repository[NotificationPreference]):
    """The departures from the defaults. The person is bound, whatever the session is."""

    model = NotificationPreference

    async def of(self, user_id: UUID) -> Sequence[NotificationPreference]:
        """The person's preferences."""
        statement = self.select().where(NotificationPreference.user_id == user_id)
        found: Sequence[NotificationPreference] = (await self.session.execute(statement)).scalars().all()
        return found

    async def switched_off(self, people: Collection[UUID], category: str, channel: str) -> set[UUID]:
        """Those of these people who do not want this channel of a category."""
        statement = select(NotificationPreference.user_id).where(
            NotificationPreference.user_id.in_(list(people)),
            NotificationPreference.category == category,
            NotificationPreference.channel == channel,
            NotificationPreference.is_enabled.is_(False),
        )
        return set((await self.session.execute(statement)).scalars())

    async def lock(self, user_id: UUID) -> None:
        """Let no other change of the person's matrix begin until the transaction ends."""
        whose = f"notification-preferences:{user_id}"
        await self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(whose, 0))))

    async def write(self, user_id: UUID, wishes: Sequence[Mapping[str, Any]]) -> None:
        """Insert or change wishes (`category, channel, is_enabled, digest`) with one statement.

        They go in the order of their keys, so that two writers wait for each other and never in a circle.
        """
        if not wishes:
            return
        ordered = sorted(wishes, key=lambda wish: (wish["category"], wish["channel"]))
        statement = insert(NotificationPreference).values(
            [{"id": uuid7(), "user_id": user_id, **wish} for wish in ordered]
        )
        changed = statement.on_conflict_do_update(
            index_elements=KEYS,
            set_={
                "is_enabled": statement.excluded.is_enabled,
                "digest": statement.excluded.digest,
                "updated_at": func.clock_timestamp(),
            },
        )
        await (await self.session.connection()).execute(changed)

    async def forget(self, user_id: UUID, places: Sequence[tuple[str, str]]) -> None:
        """Remove the wishes at these pairs of category and channel: there the default holds again."""
        if places:
            where = tuple_(NotificationPreference.category, NotificationPreference.channel)
            await self.session.execute(
                delete(NotificationPreference)
                .where(NotificationPreference.user_id == user_id, where.in_(list(places)))
                .execution_options(synchronize_session=False)
            )
