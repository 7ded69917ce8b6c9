"""Who the people of an event are, and where they are at home."""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, or_, select

from app.core.database import ScopedSession
from app.models.auth import User
from app.models.integrations import ApiKey
from app.models.settings import Profile
from app.models.team import Organization, TeamMember


class NamedPerson(NamedTuple):
    """How a person is shown."""

    name: str | None
    email: str | None


class PeopleOfEventsRepository:
    """Asks about any person; for handlers, which act for nobody."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def named(self, user_ids: Collection[UUID]) -> Mapping[UUID, NamedPerson]:
        """Name and address of those who have an account and were not erased."""
        if not user_ids:
            return {}
        statement = (
            select(User.id, Profile.full_name, User.email)
            .outerjoin(Profile, Profile.user_id == User.id)
            .where(User.id.in_(user_ids), User.status != "erased")
        )
        return {row[0]: NamedPerson(row[1], row[2]) for row in await self.session.execute(statement)}

    async def key_name(self, organization_id: UUID, key_id: UUID) -> str | None:
        """How an API key is called."""
        name: str | None = await self.session.scalar(
            select(ApiKey.name).where(ApiKey.organization_id == organization_id, ApiKey.id == key_id)
        )
        return name

    async def owner_of(self, organization_id: UUID) -> tuple[UUID | None, str | None]:
        """Who owns an organisation and how it is called; nothing for one that is gone."""
        statement = (
            select(TeamMember.user_id, Organization.name)
            .join(Organization, Organization.id == TeamMember.organization_id)
            .where(TeamMember.organization_id == organization_id, TeamMember.role == "owner")
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else (None, None)

    async def home_of(self, user_id: UUID) -> UUID | None:
        """The person's home organisation: the one last worked in while they are a member, else their own."""
        is_last = User.last_organization_id == TeamMember.organization_id
        statement = (
            select(TeamMember.organization_id)
            .join(User, User.id == TeamMember.user_id)
            .join(Organization, Organization.id == TeamMember.organization_id)
            .where(
                TeamMember.user_id == user_id,
                TeamMember.status == "active",
                Organization.deleted_at.is_(None),
                or_(is_last, and_(Organization.kind == "personal", TeamMember.role == "owner")),
            )
            .order_by(is_last.desc().nulls_last())
            .limit(1)
        )
        found: UUID | None = await self.session.scalar(statement)
        return found
