"""Owns the questions to organisations: finding, making, marking and listing them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from app.models.auth import User, UserSession
from app.models.billing import PlanGrant
from app.models.team import Organization, TeamMember
from app.repositories.auth.entries import memberships_of_sessions
from app.repositories.base import Repository


class OrganizationRepository(Repository[Organization]):
    """Organisations, for any session: the id in the question is the bound."""

    model = Organization

    async def live(self, organization_id: UUID) -> Organization | None:
        """An organisation that is not deleted."""
        return await self.one(Organization.id == organization_id, Organization.deleted_at.is_(None))

    async def lock_any(self, organization_id: UUID) -> Organization | None:
        """An organisation, deleted or not, with its row locked."""
        return await self.get(organization_id, lock=True)

    async def lock_person(self, user_id: UUID) -> None:
        """Lock a person's row, under which the organisations that they own are counted."""
        await self.session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))

    async def count_owned(self, user_id: UUID) -> int:
        """How many live organisations a person owns."""
        statement = (
            select(func.count(TeamMember.id))
            .join(Organization, Organization.id == TeamMember.organization_id)
            .where(
                TeamMember.user_id == user_id,
                TeamMember.role == "owner",
                Organization.deleted_at.is_(None),
            )
        )
        return int(await self.session.scalar(statement) or 0)

    async def count_members(self, organization_id: UUID) -> int:
        """How many members an organisation has."""
        statement = select(func.count(TeamMember.id)).where(TeamMember.organization_id == organization_id)
        return int(await self.session.scalar(statement) or 0)

    async def insert_unless_taken(self, values: Mapping[str, Any]) -> bool:
        """Insert an organisation; False when its slug is taken, also by one that is not committed yet."""
        statement = (
            insert(Organization)
            .values(**values)
            .on_conflict_do_nothing(index_elements=[Organization.slug])
            .returning(Organization.id)
        )
        return (await self.session.scalar(statement)) is not None

    async def end_grants(self, organization_id: UUID, now: datetime) -> None:
        """End the plans that the organisation was given, and those that were to begin later."""
        begun = and_(PlanGrant.starts_at < now, or_(PlanGrant.ends_at.is_(None), PlanGrant.ends_at > now))
        await self.session.execute(
            update(PlanGrant)
            .where(PlanGrant.organization_id == organization_id, begun)
            .values(ends_at=now)
            .execution_options(synchronize_session=False)
        )
        await self.session.execute(
            delete(PlanGrant)
            .where(PlanGrant.organization_id == organization_id, PlanGrant.starts_at >= now)
            .execution_options(synchronize_session=False)
        )

    def of_session(self, user_id: UUID, session_id: UUID) -> Any:
        """The live organisations of a person, seen from one of their sessions.

        `created_at` (of the membership) and `id` are the pair by which the list is paged.
        """
        return memberships_of_sessions(
            TeamMember.joined_at.label("created_at"),
            _members_count().label("members_count"),
        ).where(UserSession.id == session_id, UserSession.user_id == user_id)


def _members_count() -> Any:
    """How many members the organisation of a row has."""
    colleagues = aliased(TeamMember, name="colleagues")
    return (
        select(func.count(colleagues.id))
        .where(colleagues.organization_id == Organization.id)
        .scalar_subquery()
    )
