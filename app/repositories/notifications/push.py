"""The browsers that take push messages."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update

from app.models.notifications import PushSubscription
from app.repositories.base import Repository

LOCK_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('push:' || encode($1::bytea, 'hex'), 0))"

LOCK_PERSON_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('push-person:' || $1::uuid, 0))"

TAKE_OVER_SQL = "DELETE FROM push_subscriptions WHERE endpoint_hash = $1::bytea AND user_id <> $2::uuid"


class PushRepository(Repository[PushSubscription]):
    """Subscriptions, for their person and for the job that writes to them."""

    model = PushSubscription

    def of(self, user_id: UUID) -> Select[Any]:
        """The person's subscriptions."""
        return self.select().where(PushSubscription.user_id == user_id)

    async def known(self, user_id: UUID, endpoint_hash: bytes) -> PushSubscription | None:
        """The person's subscription of an address."""
        return await self.one(
            PushSubscription.user_id == user_id, PushSubscription.endpoint_hash == endpoint_hash
        )

    async def claim(self, user_id: UUID, endpoint_hash: bytes) -> None:
        """Let nobody else subscribe this address meanwhile, and take it from whoever had it.

        A browser tells its address to nobody but the application that runs in it. Who knows it sits at that
        browser, where somebody else was signed in before; those messages must not appear there any more.
        """
        await self.session.fetch(LOCK_SQL, endpoint_hash)
        # The browsers of a person are counted one after the other.
        await self.session.fetch(LOCK_PERSON_SQL, user_id)
        await self.session.fetch(TAKE_OVER_SQL, endpoint_hash, user_id)

    async def drop_oldest(self, user_id: UUID, keep: int) -> None:
        """Remove all but the newest ones of a person."""
        newest = (
            select(PushSubscription.id)
            .where(PushSubscription.user_id == user_id)
            .order_by(PushSubscription.created_at.desc(), PushSubscription.id.desc())
            .offset(keep)
        )
        await self.session.execute(
            delete(PushSubscription)
            .where(PushSubscription.user_id == user_id, PushSubscription.id.in_(newest))
            .execution_options(synchronize_session=False)
        )

    async def succeeded(self, subscription_id: UUID) -> None:
        """Note that the browser took a message."""
        await self.session.execute(
            update(PushSubscription)
            .where(PushSubscription.id == subscription_id)
            .values(failures=0, last_ok_at=func.now())
        )

    async def failed(self, subscription_id: UUID) -> None:
        """Note that it did not."""
        await self.session.execute(
            update(PushSubscription)
            .where(PushSubscription.id == subscription_id)
            .values(failures=PushSubscription.failures + 1)
        )

    async def forget(self, subscription_id: UUID) -> bool:
        """Remove one that its push service does not know any more; whether it was still there."""
        statement = (
            delete(PushSubscription)
            .where(PushSubscription.id == subscription_id)
            .returning(PushSubscription.id)
        )
        return (await self.session.execute(statement)).one_or_none() is not None
