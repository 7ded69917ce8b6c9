"""Owns the questions to profiles: a person's own, and the organisations that hear of its changes."""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from sqlalchemy import select

from app.models.auth import User
from app.models.settings import Profile
from app.models.team import Organization, TeamMember
from app.repositories.base import Repository


class ProfileRepository(Repository[Profile]):
    """Profiles; every question binds the person."""

    model: ClassVar[type[Profile]] = Profile

    async def of(self, user_id: UUID, *, lock: bool = False) -> Profile | None:
        """The profile of a person; `lock` keeps others from changing it."""
        return await self.one(Profile.user_id == user_id, lock=lock)

    async def with_person(self, user_id: UUID) -> tuple[Profile, User] | None:
        """A person's profile and account, in one statement."""
        statement = (
            select(Profile, User).join(User, User.id == Profile.user_id).where(Profile.user_id == user_id)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def add_unless_there(self, user_id: UUID) -> None:
        """Make an empty profile for a person who has none."""
        await self.upsert(keys=["user_id"], values={"user_id": user_id})

    async def organizations_of(self, user_id: UUID) -> Sequence[UUID]:
        """The live organisations in which a person is an active member."""
        statement = (
            select(TeamMember.organization_id)
            .join(Organization, Organization.id == TeamMember.organization_id)
            .where(
                TeamMember.user_id == user_id,
                TeamMember.status == "active",
                Organization.deleted_at.is_(None),
            )
            .order_by(TeamMember.organization_id)
        )
        return (await self.session.execute(statement)).scalars().all()
