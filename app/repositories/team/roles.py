"""Owns the questions to custom roles: whose they are, who has them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app.core.errors import constraint_name
from app.models.settings import Profile
from app.models.team import Invitation, TeamMember, TeamRole
from app.repositories.base import Repository

RESTRICTING = frozenset(
    {
        "team_members_organization_id_team_role_id_fkey",
        "invitations_organization_id_team_role_id_fkey",
    }
)
"""The references that keep a role that somebody has, or was offered."""


class RoleRepository(Repository[TeamRole]):
    """Custom roles, for any session: every question binds the organisation."""

    model = TeamRole

    async def of(self, organization_id: UUID) -> Sequence[TeamRole]:
        """All custom roles of the organisation, oldest first."""
        statement = (
            select(TeamRole)
            .where(TeamRole.organization_id == organization_id)
            .order_by(TeamRole.created_at, TeamRole.id)
        )
        return (await self.session.scalars(statement)).all()

    async def find(self, organization_id: UUID, role_id: UUID) -> TeamRole | None:
        """One custom role of the organisation."""
        return await self.one(TeamRole.organization_id == organization_id, TeamRole.id == role_id)

    async def by_key(self, organization_id: UUID, key: str) -> TeamRole | None:
        """The custom role of the organisation with this key."""
        return await self.one(TeamRole.organization_id == organization_id, TeamRole.key == key)

    async def count(self, organization_id: UUID) -> int:
        """How many custom roles the organisation has."""
        statement = select(func.count(TeamRole.id)).where(TeamRole.organization_id == organization_id)
        return int(await self.session.scalar(statement) or 0)

    async def holders(self, organization_id: UUID) -> Mapping[tuple[str, UUID | None], int]:
        """How many members have each role, by its name and for custom roles its id."""
        statement = (
            select(TeamMember.role, TeamMember.team_role_id, func.count(TeamMember.id))
            .where(TeamMember.organization_id == organization_id)
            .group_by(TeamMember.role, TeamMember.team_role_id)
        )
        return {(row[0], row[1]): row[2] for row in (await self.session.execute(statement)).all()}

    async def people_with(self, organization_id: UUID, role_id: UUID, limit: int) -> Sequence[Any]:
        """Id, name and portrait of the members who have the role, those first who joined first."""
        statement = (
            select(TeamMember.user_id, Profile.full_name, Profile.avatar_file_id)
            .outerjoin(Profile, Profile.user_id == TeamMember.user_id)
            .where(TeamMember.organization_id == organization_id, TeamMember.team_role_id == role_id)
            .order_by(TeamMember.joined_at, TeamMember.id)
            .limit(limit)
        )
        return (await self.session.execute(statement)).all()

    async def uses(self, organization_id: UUID, role_id: UUID) -> tuple[int, int]:
        """How many members have the role, and how many open invitations offer it."""
        offered = (
            select(func.count(Invitation.id))
            .where(Invitation.organization_id == organization_id, Invitation.team_role_id == role_id)
            .scalar_subquery()
        )
        statement = select(func.count(TeamMember.id), offered).where(
            TeamMember.organization_id == organization_id, TeamMember.team_role_id == role_id
        )
        row = (await self.session.execute(statement)).one()
        return int(row[0]), int(row[1])

    async def change(
        self, organization_id: UUID, role_id: UUID, version: int, values: Mapping[str, Any]
    ) -> TeamRole | None:
        """Write these values and the next version; None when the row has another version by now."""
        statement = (
            update(TeamRole)
            .where(
                TeamRole.organization_id == organization_id,
                TeamRole.id == role_id,
                TeamRole.version == version,
            )
            .values(**values, version=version + 1)
            .returning(TeamRole)
            .execution_options(populate_existing=True)
        )
        found: TeamRole | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def remove_unless_used(self, role: TeamRole) -> bool:
        """Delete a role; False when members or invitations refer to it, and then nothing has happened."""
        try:
            async with self.session.begin_nested():
                await self.session.delete(role)
        except IntegrityError as error:
            if constraint_name(error) in RESTRICTING:
                return False
            raise
        return True
