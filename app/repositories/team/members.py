"""Owns the questions to the team of an organisation: its lock, its members, its seats."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from app.models.team import Organization, TeamMember
from app.repositories.base import Repository


class TeamRepository(Repository[TeamMember]):
    """Members, for any session: every question binds the organisation."""

    model = TeamMember

    async def lock_organization(self, organization_id: UUID) -> Organization | None:
        """The organisation, with its row locked until the transaction ends; None unless it is a live one.

        Whatever changes members, invitations, roles or transfers takes this lock first. References to the
        row may still be made meanwhile (`FOR NO KEY UPDATE`).
        """
        statement = (
            select(Organization)
            .where(Organization.id == organization_id, Organization.deleted_at.is_(None))
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        found: Organization | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def lock_members(self, organization_id: UUID, ids: Iterable[UUID]) -> Sequence[TeamMember]:
        """The members of the organisation with these ids, locked in the order of their ids."""
        statement = (
            select(TeamMember)
            .where(TeamMember.organization_id == organization_id, TeamMember.id.in_(list(ids)))
            .order_by(TeamMember.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def member_of(self, organization_id: UUID, user_id: UUID) -> TeamMember | None:
        """A person's membership in the organisation, if they have one."""
        return await self.one(TeamMember.organization_id == organization_id, TeamMember.user_id == user_id)

    async def count_seats(self, organization_id: UUID, now: datetime) -> tuple[int, int]:  # noqa: ARG002 - see below
        """How many seats are taken: by members (active and suspended), and by open invitations.

        The caller holds the lock of the organisation, under which both are added.
        """
        members = await self.session.scalar(
            select(func.count(TeamMember.id)).where(TeamMember.organization_id == organization_id)
        )
        # Invitations hold seats as soon as there is a table of them.
        return int(members or 0), 0
