"""Owns the questions to one-time tokens: each is used by one conditional UPDATE, so that one caller wins."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, desc, select, update

from app.models.auth import OneTimeToken, User
from app.repositories.base import Repository

MOST_ATTEMPTS = 5
"""The fifth wrong code voids the token."""


def _is_live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.consumed_at.is_(None),
        OneTimeToken.voided_at.is_(None),
        OneTimeToken.expires_at > now,
    )


class OneTimeTokenRepository(Repository[OneTimeToken]):
    """Tokens and codes of mails."""

    model = OneTimeToken

    async def of_purpose(self, token_id: UUID, purpose: str) -> OneTimeToken | None:
        """The row as it stands now, whatever its state."""
        statement = (
            select(OneTimeToken)
            .where(OneTimeToken.id == token_id, OneTimeToken.purpose == purpose)
            .execution_options(populate_existing=True)
        )
        found: OneTimeToken | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def consume(self, token_id: UUID, purpose: str, now: datetime) -> OneTimeToken | None:
        """Use a token up; None when it is not there, used, voided or expired."""
        statement = (
            update(OneTimeToken)
            .where(OneTimeToken.id == token_id, OneTimeToken.purpose == purpose, *_is_live(now))
            .values(consumed_at=now)
            .returning(OneTimeToken)
            .execution_options(populate_existing=True)
        )
        found: OneTimeToken | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def void_live(self, purpose: str, owner_key: str, now: datetime) -> None:
        """Take the live token of this purpose and owner out of use."""
        await self.session.execute(
            update(OneTimeToken)
            .where(
                OneTimeToken.purpose == purpose,
                OneTimeToken.owner_key == owner_key,
                OneTimeToken.consumed_at.is_(None),
                OneTimeToken.voided_at.is_(None),
            )
            .values(voided_at=now)
            .execution_options(synchronize_session=False)
        )

    async def void(self, token_id: UUID, now: datetime) -> None:
        """Take this token out of use."""
        await self.session.execute(
            update(OneTimeToken)
            .where(OneTimeToken.id == token_id, OneTimeToken.consumed_at.is_(None))
            .values(voided_at=now)
            .execution_options(synchronize_session=False)
        )

    async def newest_challenge(self, purpose: str, owner_key: str) -> str | None:
        """The PKCE challenge of the newest token of this purpose and owner."""
        found: str | None = await self.session.scalar(
            select(OneTimeToken.code_challenge)
            .where(OneTimeToken.purpose == purpose, OneTimeToken.owner_key == owner_key)
            .order_by(desc(OneTimeToken.created_at), desc(OneTimeToken.id))
            .limit(1)
        )
        return found

    async def pay_attempt(
        self, purpose: str, canonical: str, now: datetime, made_after: datetime
    ) -> tuple[UUID, int] | None:
        """Count one try of a code against the live token of an address: its id and how many tries it had.

        None when there is no such token, for whatever reason.
        """
        owner = select(User.id).where(User.email_canonical == canonical, User.status != "erased")
        statement = (
            update(OneTimeToken)
            .where(
                OneTimeToken.purpose == purpose,
                OneTimeToken.user_id == owner.scalar_subquery(),
                OneTimeToken.attempt_count < MOST_ATTEMPTS,
                OneTimeToken.created_at > made_after,
                *_is_live(now),
            )
            .values(attempt_count=OneTimeToken.attempt_count + 1)
            .returning(OneTimeToken.id, OneTimeToken.attempt_count)
            .execution_options(synchronize_session=False)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def pay_attempt_of(self, token_id: UUID, purpose: str, now: datetime) -> int | None:
        """Count one try against this live token: how many it had. None when there is no such token."""
        statement = (
            update(OneTimeToken)
            .where(
                OneTimeToken.id == token_id,
                OneTimeToken.purpose == purpose,
                OneTimeToken.attempt_count < MOST_ATTEMPTS,
                *_is_live(now),
            )
            .values(attempt_count=OneTimeToken.attempt_count + 1)
            .returning(OneTimeToken.attempt_count)
            .execution_options(synchronize_session=False)
        )
        attempts: int | None = await self.session.scalar(statement)
        return attempts

    async def void_all(
        self,
        user_id: UUID,
        now: datetime,
        *,
        only: Sequence[str] | None = None,
        but: Sequence[str] = (),
    ) -> None:
        """Take a person's live tokens out of use: those of some purposes only, or of all but some."""
        is_chosen = OneTimeToken.purpose.in_(only) if only is not None else OneTimeToken.purpose.not_in(but)
        await self.session.execute(
            update(OneTimeToken)
            .where(
                OneTimeToken.user_id == user_id,
                is_chosen,
                OneTimeToken.consumed_at.is_(None),
                OneTimeToken.voided_at.is_(None),
            )
            .values(voided_at=now)
            .execution_options(synchronize_session=False)
        )
