"""Owns the questions to counted sign-in failures."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, case, delete, null, select
from sqlalchemy.dialects.postgresql import insert

from app.models.auth import SignInThrottle
from app.repositories.base import Repository


class ThrottleRepository(Repository[SignInThrottle]):
    """Failures in a row, by the HMAC of an identifier."""

    model = SignInThrottle

    async def row(self, key: bytes) -> SignInThrottle | None:
        """The counter as it stands now."""
        return await self.one(SignInThrottle.key == key)

    async def count_failure(
        self,
        key: bytes,
        now: datetime,
        *,
        forgotten_before: datetime,
        kept_from: int,
        locks: Mapping[int, timedelta],
        later: timedelta,
    ) -> SignInThrottle:
        """Add one failure in one statement, and lock at every tenth.

        A row below `kept_from` whose last failure is older than `forgotten_before` begins anew. `locks`
        says for how long each count locks, and `later` for how long every further tenth does.
        """
        is_forgotten = and_(
            SignInThrottle.failed_count < kept_from, SignInThrottle.last_failed_at < forgotten_before
        )
        counted = case((is_forgotten, 1), else_=SignInThrottle.failed_count + 1)
        locked_until = case(
            (is_forgotten, null()),
            *((counted == count, now + duration) for count, duration in locks.items()),
            (counted % 10 == 0, now + later),
            else_=SignInThrottle.locked_until,
        )
        statement = (
            insert(SignInThrottle)
            .values(key=key, failed_count=1, last_failed_at=now, created_at=now, updated_at=now)
            .on_conflict_do_update(
                index_elements=[SignInThrottle.key],
                set_={
                    "failed_count": counted,
                    "locked_until": locked_until,
                    "last_failed_at": now,
                    "updated_at": now,
                },
            )
            .returning(SignInThrottle)
            .execution_options(populate_existing=True)
        )
        counter: SignInThrottle = (await self.session.execute(statement)).scalar_one()
        return counter

    async def clear(self, key: bytes) -> None:
        """Forget the failures of this key."""
        await self.session.execute(delete(SignInThrottle).where(SignInThrottle.key == key))

    async def clear_all(self, keys: Sequence[bytes]) -> None:
        """Forget the failures of these keys."""
        await self.session.execute(delete(SignInThrottle).where(SignInThrottle.key.in_(keys)))

    async def prune(self, *, before: datetime, kept_from: int, limit: int) -> int:
        """Delete counters below `kept_from` whose last failure is older, at most `limit`; how many."""
        old = select(SignInThrottle.key).where(
            SignInThrottle.last_failed_at < before, SignInThrottle.failed_count < kept_from
        )
        gone = await self.session.execute(
            delete(SignInThrottle)
            .where(SignInThrottle.key.in_(old.limit(limit)))
            .returning(SignInThrottle.key)
            .execution_options(synchronize_session=False)
        )
        return len(gone.scalars().all())
