"""Owns the questions to second factors; each code is used by one conditional UPDATE, so one caller wins."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, delete, exists, func, insert, not_, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from app.core.ids import uuid7
from app.models.auth import MfaBackupCode, MfaChallenge, MfaFactor, SignInThrottle, User
from app.models.team import Organization, TeamMember
from app.repositories.base import Repository

MOST_TRIES = 5
"""The fifth wrong code ends a challenge and a pending factor."""


class FactorRepository(Repository[MfaFactor]):
    """Authenticator apps; every question binds the person."""

    model = MfaFactor

    async def has_active(self, user_id: UUID) -> bool:
        """Whether this person has a second factor."""
        is_theirs = (MfaFactor.user_id == user_id, MfaFactor.status == "active")
        return bool(await self.session.scalar(select(exists().where(*is_theirs))))

    async def active(self, user_id: UUID) -> MfaFactor | None:
        """The factor that counts."""
        return await self.one(MfaFactor.user_id == user_id, MfaFactor.status == "active")

    async def pending(self, user_id: UUID, made_after: datetime) -> MfaFactor | None:
        """The factor that waits for its first code."""
        return await self.one(
            MfaFactor.user_id == user_id, MfaFactor.status == "pending", MfaFactor.created_at > made_after
        )

    async def use_step(self, factor_id: UUID, step: int, now: datetime) -> bool:
        """Accept the code of a step; no when that step or a later one was used (RFC 6238, 5.2)."""
        return await self._changed(
            MfaFactor.id == factor_id,
            MfaFactor.status == "active",
            MfaFactor.last_used_step < step,
            last_used_step=step,
            last_used_at=now,
        )

    async def pay_pending(
        self, user_id: UUID, made_after: datetime, factor_id: UUID | None
    ) -> MfaFactor | None:
        """Count one try of a first code; None when no factor waits for one, or not the wanted one."""
        wanted = [MfaFactor.id == factor_id] if factor_id is not None else []
        statement = (
            update(MfaFactor)
            .where(
                MfaFactor.user_id == user_id,
                MfaFactor.status == "pending",
                MfaFactor.created_at > made_after,
                MfaFactor.attempt_count < MOST_TRIES,
                *wanted,
            )
            .values(attempt_count=MfaFactor.attempt_count + 1)
            .returning(MfaFactor)
            .execution_options(populate_existing=True)
        )
        found: MfaFactor | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def activate(self, factor_id: UUID, step: int, now: datetime) -> bool:
        """Make a pending factor the one that counts; no when it is not pending any more."""
        return await self._changed(
            MfaFactor.id == factor_id,
            MfaFactor.status == "pending",
            status="active",
            last_used_step=step,
            confirmed_at=now,
            last_used_at=now,
        )

    async def delete_pending(self, user_id: UUID, factor_id: UUID | None = None) -> None:
        """Forget the factor that waits for its first code; with an id only if it is that one."""
        conditions = [MfaFactor.user_id == user_id, MfaFactor.status == "pending"]
        if factor_id is not None:
            conditions.append(MfaFactor.id == factor_id)
        await self.session.execute(delete(MfaFactor).where(*conditions))

    async def delete_all(self, user_id: UUID) -> None:
        """Forget a person's factors and backup codes."""
        await self.session.execute(delete(MfaFactor).where(MfaFactor.user_id == user_id))
        await self.session.execute(delete(MfaBackupCode).where(MfaBackupCode.user_id == user_id))

    async def prune_pending(self, made_before: datetime) -> None:
        """Delete factors whose first code never came."""
        await self.session.execute(
            delete(MfaFactor)
            .where(MfaFactor.status == "pending", MfaFactor.created_at <= made_before)
            .execution_options(synchronize_session=False)
        )

    async def _changed(self, *conditions: Any, **values: Any) -> bool:
        statement = update(MfaFactor).where(*conditions).values(**values).returning(MfaFactor.id)
        statement = statement.execution_options(synchronize_session=False)
        return (await self.session.execute(statement)).first() is not None


class BackupCodeRepository(Repository[MfaBackupCode]):
    """Backup codes; every question binds the person."""

    model = MfaBackupCode

    async def by_selector(self, user_id: UUID, selector: str) -> MfaBackupCode | None:
        """The unused code that begins like this."""
        return await self.one(
            MfaBackupCode.user_id == user_id,
            MfaBackupCode.selector == selector,
            MfaBackupCode.used_at.is_(None),
        )

    async def use(self, code_id: UUID, now: datetime) -> bool:
        """Use a code up; no when it was used, or replaced by new ones."""
        statement = (
            update(MfaBackupCode)
            .where(MfaBackupCode.id == code_id, MfaBackupCode.used_at.is_(None))
            .values(used_at=now)
            .returning(MfaBackupCode.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).first() is not None

    async def remaining(self, user_id: UUID) -> int:
        """How many codes a person has left."""
        unused = (MfaBackupCode.user_id == user_id, MfaBackupCode.used_at.is_(None))
        statement = select(func.count(MfaBackupCode.id)).where(*unused)
        return int(await self.session.scalar(statement) or 0)

    async def replace(self, user_id: UUID, hashes: Sequence[tuple[str, str]], now: datetime) -> None:
        """Give a person these codes (selector and hash of the rest) in place of all they had."""
        await self.session.execute(delete(MfaBackupCode).where(MfaBackupCode.user_id == user_id))
        rows = [
            {
                "id": uuid7(),
                "user_id": user_id,
                "selector": selector,
                "verifier_hash": hashed,
                "created_at": now,
                "updated_at": now,
            }
            for selector, hashed in hashes
        ]
        await self.session.execute(insert(MfaBackupCode), rows)


class ChallengeRepository(Repository[MfaChallenge]):
    """Sign-ins that await their second factor."""

    model = MfaChallenge

    async def pay(self, challenge_id: UUID, now: datetime) -> MfaChallenge | None:
        """Count one try; None when the challenge is over: used, expired or tried too often."""
        statement = (
            update(MfaChallenge)
            .where(
                MfaChallenge.id == challenge_id,
                MfaChallenge.attempt_count < MOST_TRIES,
                MfaChallenge.consumed_at.is_(None),
                MfaChallenge.expires_at > now,
            )
            .values(attempt_count=MfaChallenge.attempt_count + 1)
            .returning(MfaChallenge)
            .execution_options(populate_existing=True)
        )
        found: MfaChallenge | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def consume(self, challenge_id: UUID, now: datetime) -> bool:
        """Use a challenge up; no when another request was faster, or it is over."""
        statement = (
            update(MfaChallenge)
            .where(
                MfaChallenge.id == challenge_id,
                MfaChallenge.consumed_at.is_(None),
                MfaChallenge.expires_at > now,
            )
            .values(consumed_at=now)
            .returning(MfaChallenge.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).first() is not None

    async def prune(self, expired_before: datetime, *, limit: int) -> int:
        """Delete challenges that expired before this moment; how many there were."""
        old = select(MfaChallenge.id).where(MfaChallenge.expires_at < expired_before).limit(limit)
        gone = await self.session.execute(
            delete(MfaChallenge)
            .where(MfaChallenge.id.in_(old))
            .returning(MfaChallenge.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.scalars().all())


class DemandRepository(Repository[User]):
    """Which organisations demand a second factor of a person."""

    model = User

    async def organizations(self, user_id: UUID) -> Sequence[tuple[UUID, str]]:
        """Id and name of those that demand one of everybody, or of people outside their single sign-on."""
        is_outside = and_(Organization.sso_enforced, not_(TeamMember.must_use_sso))
        statement = (
            select(Organization.id, Organization.name)
            .join(TeamMember, TeamMember.organization_id == Organization.id)
            .where(
                TeamMember.user_id == user_id,
                Organization.deleted_at.is_(None),
                or_(Organization.require_mfa, is_outside),
            )
            .order_by(Organization.name, Organization.id)
        )
        return [(row[0], row[1]) for row in (await self.session.execute(statement)).all()]


class TryRepository(Repository[SignInThrottle]):
    """Wrong second factors of an account in a row, under a key of their own among the counted failures."""

    model = SignInThrottle

    async def pay(self, key: bytes, now: datetime, *, most: int, window: timedelta) -> datetime | None:
        """Count one try as failed before it is judged; until when there are none to pay with, or None.

        The count begins anew after `window` without a failure. At `most` the account is locked for as long.
        """
        is_over = or_(SignInThrottle.last_failed_at <= now - window, SignInThrottle.locked_until <= now)
        counted = case((is_over, 1), else_=SignInThrottle.failed_count + 1)
        locked_until = case((counted >= most, now + window), else_=null())
        statement = (
            insert_or(SignInThrottle)
            .values(
                key=key,
                failed_count=1,
                locked_until=now + window if most <= 1 else None,
                last_failed_at=now,
                created_at=now,
                updated_at=now,
            )
            .on_conflict_do_update(
                index_elements=[SignInThrottle.key],
                set_={
                    "failed_count": counted,
                    "locked_until": locked_until,
                    "last_failed_at": now,
                    "updated_at": now,
                },
                where=or_(SignInThrottle.locked_until.is_(None), SignInThrottle.locked_until <= now),
            )
            .returning(SignInThrottle.key)
        )
        if (await self.session.execute(statement)).first() is not None:
            return None
        row = await self.one(SignInThrottle.key == key)
        return row.locked_until if row is not None and row.locked_until is not None else now

    async def give_back(self, key: bytes) -> None:
        """Take back the try that was paid for, because its code was right; earlier failures stay counted."""
        await self.session.execute(
            update(SignInThrottle)
            .where(SignInThrottle.key == key, SignInThrottle.failed_count > 0)
            .values(failed_count=SignInThrottle.failed_count - 1, locked_until=None)
            .execution_options(synchronize_session=False)
        )
