"""Owns the questions to identities and to trips to providers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import uuid7
from app.models.auth import ExternalSignIn, Identity, MfaChallenge, OneTimeToken, Password, UserSession
from app.repositories.base import Repository


class IdentityRepository(Repository[Identity]):
    """People as providers know them."""

    model = Identity

    async def by_subject(self, provider: str, subject: str) -> Identity | None:
        """The identity that a provider means by this subject, whoever has it."""
        return await self.one(Identity.provider == provider, Identity.provider_subject == subject)

    async def of_person(self, user_id: UUID, provider: str) -> Identity | None:
        """The identity of a person at a provider."""
        return await self.one(Identity.user_id == user_id, Identity.provider == provider)

    async def add_unless_taken(
        self,
        *,
        user_id: UUID,
        provider: str,
        provider_subject: str,
        email: str | None,
        is_email_verified: bool,
        now: datetime,
    ) -> Identity | None:
        """Give a person this identity; None when somebody has it, or the person has another of the provider.

        It waits for a transaction that is about to insert the same, so that one of two wins.
        """
        statement = (
            insert(Identity)
            .values(
                id=uuid7(),
                user_id=user_id,
                provider=provider,
                provider_subject=provider_subject,
                email=email,
                is_email_verified=is_email_verified,
                created_at=now,
                updated_at=now,
            )
            .on_conflict_do_nothing()
            .returning(Identity)
        )
        found: Identity | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def note_use(
        self, user_id: UUID, provider: str, now: datetime, *, email: str | None, is_email_verified: bool
    ) -> None:
        """Note that a person signed in by this provider, and what it says of their address now."""
        await self.session.execute(
            update(Identity)
            .where(Identity.user_id == user_id, Identity.provider == provider)
            .values(last_sign_in_at=now, email=email, is_email_verified=is_email_verified)
            .execution_options(synchronize_session=False)
        )

    def list_of(self, user_id: UUID) -> Select[Any]:
        """The statement of a person's identities."""
        return select(Identity).where(Identity.user_id == user_id)

    async def has_other_way_in(self, user_id: UUID, but: UUID) -> bool:
        """Whether a person could still sign in without this identity: by a password or by another one."""
        other = exists().where(Identity.user_id == user_id, Identity.id != but)
        password = exists().where(Password.user_id == user_id)
        return bool(await self.session.scalar(select(other | password)))


class ExternalSignInRepository(Repository[ExternalSignIn]):
    """Trips to providers: each comes back once."""

    model = ExternalSignIn

    async def consume(self, trip_id: UUID, kind: str, now: datetime) -> ExternalSignIn | None:
        """Take a trip as come back; None when there is none, it came back already, or took too long."""
        statement = (
            update(ExternalSignIn)
            .where(
                ExternalSignIn.id == trip_id,
                ExternalSignIn.kind == kind,
                ExternalSignIn.consumed_at.is_(None),
                ExternalSignIn.expires_at > now,
            )
            .values(consumed_at=now)
            .returning(ExternalSignIn)
            .execution_options(populate_existing=True)
        )
        found: ExternalSignIn | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def session_after(self, challenge_id: UUID) -> UUID | None:
        """The session that a finished challenge opened: both were written at the same moment."""
        found: UUID | None = await self.session.scalar(
            select(UserSession.id)
            .join(
                MfaChallenge,
                and_(
                    MfaChallenge.user_id == UserSession.user_id,
                    MfaChallenge.consumed_at == UserSession.created_at,
                ),
            )
            .where(MfaChallenge.id == challenge_id)
            .limit(1)
        )
        return found

    async def prune(self, *, before: datetime, limit: int) -> int:
        """Delete trips, and codes, that expired before then, at most `limit` of each; the larger number."""
        return max(
            await self._delete(ExternalSignIn, ExternalSignIn.expires_at < before, limit),
            await self._delete(
                OneTimeToken,
                and_(OneTimeToken.purpose == "auth_code", OneTimeToken.expires_at < before),
                limit,
            ),
        )

    async def _delete(
        self, model: type[ExternalSignIn | OneTimeToken], is_old: ColumnElement[bool], limit: int
    ) -> int:
        old = select(model.id).where(is_old).limit(limit)
        gone = await self.session.execute(
            delete(model)
            .where(model.id.in_(old))
            .returning(model.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.scalars().all())
