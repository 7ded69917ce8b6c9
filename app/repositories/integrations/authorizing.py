"""Owns the questions to authorisations under way, and to grants that are still to be revoked."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select, update

from app.models.integrations import IntegrationRevocation, OAuthState
from app.repositories.base import Repository


class OAuthStateRepository(Repository[OAuthState]):
    """Ways to services and back; each comes back once and is used once."""

    model: ClassVar[type[OAuthState]] = OAuthState

    async def by_state(self, state_hash: bytes) -> OAuthState | None:
        """The way that a state belongs to."""
        return await self.one(OAuthState.state_hash == state_hash)

    async def note_return(
        self,
        state_id: UUID,
        now: datetime,
        *,
        completion_hash: bytes | None,
        code_sealed: bytes | None,
        is_over: bool,
    ) -> bool:
        """Note that a way came back, with what is kept of it; False when it had come back before."""
        statement = (
            update(OAuthState)
            .where(OAuthState.id == state_id, OAuthState.returned_at.is_(None), OAuthState.used_at.is_(None))
            .values(
                returned_at=now,
                completion_hash=completion_hash,
                code_sealed=code_sealed,
                used_at=now if is_over else None,
            )
            .returning(OAuthState.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalar_one_or_none() is not None

    async def use(self, completion_hash: bytes, now: datetime) -> OAuthState | None:
        """Use a way up, whoever asks; None when there is none, or it was used."""
        statement = (
            update(OAuthState)
            .where(OAuthState.completion_hash == completion_hash, OAuthState.used_at.is_(None))
            .values(used_at=now)
            .returning(OAuthState)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        found: OAuthState | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def prune(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` ways that are over or expired before then; how many those were."""
        old = (
            select(OAuthState.id)
            .where(or_(OAuthState.expires_at < before, OAuthState.used_at < before))
            .limit(limit)
        )
        gone = await self.session.execute(
            delete(OAuthState)
            .where(OAuthState.id.in_(old))
            .returning(OAuthState.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.scalars().all())


class RevocationRepository(Repository[IntegrationRevocation]):
    """Grants that are still to be revoked."""

    model: ClassVar[type[IntegrationRevocation]] = IntegrationRevocation

    async def of_integration(self, integration_id: UUID) -> Sequence[UUID]:
        """What is to be revoked of a connection."""
        statement = select(IntegrationRevocation.id).where(
            IntegrationRevocation.integration_id == integration_id
        )
        return (await self.session.execute(statement)).scalars().all()

    async def due(self, now: datetime, *, limit: int) -> Sequence[UUID]:
        """What is to be tried now, longest due first."""
        statement = (
            select(IntegrationRevocation.id)
            .where(IntegrationRevocation.next_attempt_at <= now)
            .order_by(IntegrationRevocation.next_attempt_at)
            .limit(limit)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def claim(
        self, revocation_id: UUID, now: datetime, *, until: datetime
    ) -> IntegrationRevocation | None:
        """Count an attempt before it is made and keep others off until then; None when it is not due."""
        statement = (
            update(IntegrationRevocation)
            .where(IntegrationRevocation.id == revocation_id, IntegrationRevocation.next_attempt_at <= now)
            .values(attempts=IntegrationRevocation.attempts + 1, next_attempt_at=until)
            .returning(IntegrationRevocation)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        found: IntegrationRevocation | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def forget(self, revocation_id: UUID) -> None:
        """Delete one that is done, or that nobody tries any more."""
        await self._delete(IntegrationRevocation.id == revocation_id)

    async def forget_of(self, integration_id: UUID) -> None:
        """Delete what was to be revoked of a connection that is connected again."""
        await self._delete(IntegrationRevocation.integration_id == integration_id)

    async def _delete(self, condition: ColumnElement[bool]) -> None:
        statement = delete(IntegrationRevocation).where(condition)
        await self.session.execute(statement.execution_options(synchronize_session=False))
