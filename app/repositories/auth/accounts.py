"""Owns the questions to everything that lets a person in, taken together."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update

from app.models.auth import Identity, MfaBackupCode, MfaChallenge, MfaFactor, Password, User
from app.models.settings import EmailChange
from app.repositories.base import Repository


class AccountRepository(Repository[User]):
    """The ways into an account; every question binds the person."""

    model = User

    async def remove_password(self, user_id: UUID) -> None:
        """Take a person's password away."""
        await self.session.execute(delete(Password).where(Password.user_id == user_id))

    async def remove_made_after(self, user_id: UUID, since: datetime) -> None:
        """Delete the second factors, backup codes and identities that were added after a moment.

        A factor counts from its first code, not from the moment when it was begun.
        """
        # An unfinished factor has no first code; whoever began it may come after the moment as well.
        await self.session.execute(
            delete(MfaFactor).where(
                MfaFactor.user_id == user_id,
                (MfaFactor.confirmed_at > since) | MfaFactor.confirmed_at.is_(None),
            )
        )
        for model in (MfaBackupCode, Identity):
            await self.session.execute(
                delete(model).where(model.user_id == user_id, model.created_at > since)
            )

    async def end_challenges(self, user_id: UUID) -> None:
        """Forget the sign-ins of a person that wait for their second factor."""
        await self.session.execute(
            delete(MfaChallenge).where(MfaChallenge.user_id == user_id, MfaChallenge.consumed_at.is_(None))
        )

    async def change_asked_in(self, user_id: UUID) -> UUID | None:
        """The session that asked for the change of address which waits for its proof; None without one."""
        found: UUID | None = await self.session.scalar(
            select(EmailChange.session_id).where(
                EmailChange.user_id == user_id, EmailChange.status == "pending"
            )
        )
        return found

    async def give_up_change(self, user_id: UUID) -> None:
        """Give up the change of address that waits for its proof, if there is one."""
        await self.session.execute(
            update(EmailChange)
            .where(EmailChange.user_id == user_id, EmailChange.status == "pending")
            .values(status="expired")
            .execution_options(synchronize_session=False)
        )
