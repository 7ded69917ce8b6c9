"""Owns the questions to people: who has an address, their password, their profile, their organisations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.models.auth import Password, User, UserSession
from app.models.settings import Profile
from app.models.team import Organization, TeamMember
from app.repositories.auth.entries import memberships_of_sessions
from app.repositories.base import Repository


@dataclass(frozen=True, slots=True)
class Credentials:
    """A person and the password hash they have, if any."""

    user: User
    password_hash: str | None
    password_changed_at: datetime | None


class PeopleRepository(Repository[User]):
    """People, for a session that sees everybody: the address or the id in the question is the only bound."""

    model = User

    async def by_address(self, canonical: str, *, lock: bool = False) -> User | None:
        """The account that has this address."""
        return await self.one(User.email_canonical == canonical, User.status != "erased", lock=lock)

    async def credentials(self, condition: ColumnElement[bool]) -> Credentials | None:
        """The person that meets the condition, with their password hash."""
        statement = (
            select(User, Password.hash, Password.changed_at)
            .outerjoin(Password, Password.user_id == User.id)
            .where(condition, User.status != "erased")
        )
        row = (await self.session.execute(statement)).one_or_none()
        return Credentials(row[0], row[1], row[2]) if row else None

    async def credentials_of(self, user_id: UUID) -> Credentials | None:
        """A person by id, with their password hash."""
        return await self.credentials(User.id == user_id)

    async def credentials_by_address(self, canonical: str) -> Credentials | None:
        """A person by address, with their password hash."""
        return await self.credentials(User.email_canonical == canonical)

    async def password_changed_at(self, user_id: UUID) -> datetime | None:
        """When the present password was set; None without one."""
        found: datetime | None = await self.session.scalar(
            select(Password.changed_at).where(Password.user_id == user_id)
        )
        return found

    async def insert(self, user_id: UUID, *, email: str, canonical: str, now: datetime) -> bool:
        """Make an account for an address unless one has it; waits for a sign-up that is not over yet."""
        statement = (
            insert(User)
            .values(id=user_id, email=email, email_canonical=canonical, created_at=now, updated_at=now)
            .on_conflict_do_nothing(
                index_elements=[User.email_canonical],
                # A bound parameter would not match the predicate of the partial index.
                index_where=User.status != literal_column("'erased'"),
            )
            .returning(User.id)
        )
        return (await self.session.scalar(statement)) is not None

    async def set_password(self, user_id: UUID, hashed: str, now: datetime) -> None:
        """Give a person this password, in place of the one they had."""
        values = {"hash": hashed, "changed_at": now, "updated_at": now}
        statement = (
            insert(Password)
            .values(user_id=user_id, created_at=now, **values)
            .on_conflict_do_update(index_elements=[Password.user_id], set_=values)
        )
        await self.session.execute(statement)

    async def replace_hash(self, user_id: UUID, old: str, new: str) -> None:
        """Keep the same password in a newer form, unless it was changed meanwhile."""
        await self.session.execute(
            update(Password).where(Password.user_id == user_id, Password.hash == old).values(hash=new)
        )

    async def set_profile(
        self, user_id: UUID, *, full_name: str | None, company: str | None, locale: str, now: datetime
    ) -> None:
        """Write what a sign-up says about a person."""
        values = {"full_name": full_name, "company": company, "locale": locale, "updated_at": now}
        statement = (
            insert(Profile)
            .values(user_id=user_id, created_at=now, **values)
            .on_conflict_do_update(
                index_elements=[Profile.user_id], set_={**values, "version": Profile.version + 1}
            )
        )
        await self.session.execute(statement)

    async def profile(self, user_id: UUID) -> Profile | None:
        """The profile of a person."""
        return await self.session.get(Profile, user_id)

    async def with_profiles(self, user_ids: Sequence[UUID]) -> list[tuple[User, Profile | None]]:
        """Those of these people who are not erased, each with the profile that they have."""
        statement = (
            select(User, Profile)
            .outerjoin(Profile, Profile.user_id == User.id)
            .where(User.id.in_(user_ids), User.status != "erased")
        )
        return [(row[0], row[1]) for row in await self.session.execute(statement)]

    async def add_owned_organization(self, organization: Organization, owner: TeamMember) -> None:
        """Insert an organisation together with its owner."""
        self.session.add(organization)
        await self.session.flush()
        self.session.add(owner)
        await self.session.flush()

    async def memberships(self, user_id: UUID, session_id: UUID) -> Sequence[Row[Any]]:
        """A person's organisations, seen from one of their sessions: what `core/access.blocked_by` judges."""
        statement = (
            memberships_of_sessions()
            .where(UserSession.id == session_id, UserSession.user_id == user_id)
            .order_by(TeamMember.joined_at, Organization.id)
        )
        return (await self.session.execute(statement)).all()

    async def membership(self, user_id: UUID, session_id: UUID, organization_id: UUID) -> Row[Any] | None:
        """The same of one organisation; None when it is not one of theirs."""
        statement = memberships_of_sessions().where(
            UserSession.id == session_id,
            UserSession.user_id == user_id,
            Organization.id == organization_id,
        )
        return (await self.session.execute(statement)).one_or_none()

    async def home(self, user_id: UUID, last_id: UUID | None, *, aal: int) -> UUID | None:
        """Where a new session begins: the last organisation if it can be entered, else the personal one.

        A person whose personal one is gone begins in the oldest membership that can be entered; None without.
        """
        can_enter = and_(
            TeamMember.status == "active",
            TeamMember.must_use_sso.is_(False),
            or_(literal(aal == 2), not_(or_(Organization.require_mfa, Organization.sso_enforced))),
        )
        is_last = and_(Organization.id == last_id, can_enter)
        is_personal = and_(Organization.kind == "personal", TeamMember.role == "owner")
        statement = (
            select(Organization.id)
            .join(TeamMember, TeamMember.organization_id == Organization.id)
            .where(TeamMember.user_id == user_id, Organization.deleted_at.is_(None))
            .where(or_(is_personal, can_enter))
            .order_by(func.coalesce(is_last, False).desc(), is_personal.desc(), TeamMember.joined_at)
            .limit(1)
        )
        found: UUID | None = await self.session.scalar(statement)
        return found
