"""Owns the questions to offers of ownership, and the exchange of roles that accepting one is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, desc, func, select, update
from sqlalchemy.orm import aliased

from app.models.auth import User
from app.models.settings import Profile
from app.models.team import Organization, OwnershipTransfer, TeamMember
from app.repositories.auth import PeopleRepository
from app.repositories.base import Repository


@dataclass(frozen=True, slots=True)
class TransferCard:
    """An offer with the two people as others may see them."""

    transfer: OwnershipTransfer
    member_id: UUID | None
    from_name: str | None
    from_avatar_id: UUID | None
    to_name: str | None
    to_avatar_id: UUID | None


class TransferRepository(Repository[OwnershipTransfer]):
    """Offers of ownership. In an unscoped session every question binds the organisation."""

    model = OwnershipTransfer

    async def pending(self, organization_id: UUID) -> OwnershipTransfer | None:
        """The open offer of an organisation, whether or not its time is over."""
        return await self.one(
            OwnershipTransfer.organization_id == organization_id, OwnershipTransfer.status == "pending"
        )

    async def latest_to(self, organization_id: UUID, user_id: UUID) -> OwnershipTransfer | None:
        """The newest offer to a person, whatever became of it."""
        statement = (
            select(OwnershipTransfer)
            .where(
                OwnershipTransfer.organization_id == organization_id,
                OwnershipTransfer.to_user_id == user_id,
            )
            .order_by(desc(OwnershipTransfer.created_at), desc(OwnershipTransfer.id))
            .limit(1)
            .execution_options(populate_existing=True)
        )
        found: OwnershipTransfer | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def card(self, organization_id: UUID, now: datetime) -> TransferCard | None:
        """The open offer of an organisation with the people of it; None when its time is over."""
        giver, taker = aliased(Profile), aliased(Profile)
        statement = (
            select(
                OwnershipTransfer,
                TeamMember.id,
                giver.full_name,
                giver.avatar_file_id,
                taker.full_name,
                taker.avatar_file_id,
            )
            .select_from(OwnershipTransfer)
            .outerjoin(
                TeamMember,
                and_(
                    TeamMember.organization_id == OwnershipTransfer.organization_id,
                    TeamMember.user_id == OwnershipTransfer.to_user_id,
                ),
            )
            .outerjoin(giver, giver.user_id == OwnershipTransfer.from_user_id)
            .outerjoin(taker, taker.user_id == OwnershipTransfer.to_user_id)
            .where(
                OwnershipTransfer.organization_id == organization_id,
                OwnershipTransfer.status == "pending",
                OwnershipTransfer.expires_at > now,
            )
        )
        row = (await self.session.execute(statement)).one_or_none()
        return TransferCard(*row) if row else None

    async def close(
        self, *conditions: ColumnElement[bool], status: str, now: datetime
    ) -> Sequence[OwnershipTransfer]:
        """Close the open offers that meet the conditions."""
        statement = (
            update(OwnershipTransfer)
            .where(*conditions, OwnershipTransfer.status == "pending")
            .values(status=status, closed_at=now)
            .returning(OwnershipTransfer)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def due(self, now: datetime, most: int) -> Sequence[UUID]:
        """The organisations with offers whose time is over."""
        statement = (
            select(OwnershipTransfer.organization_id)
            .where(OwnershipTransfer.status == "pending", OwnershipTransfer.expires_at <= now)
            .limit(most)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def lock_people(self, ids: Sequence[UUID]) -> Sequence[User]:
        """These people, locked in the order of their ids."""
        statement = (
            select(User)
            .where(User.id.in_(ids))
            .order_by(User.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def exchange(self, organization: Organization, owner: TeamMember, target: TeamMember) -> None:
        """Make the owner an admin, and then the target the owner, so that there are never two.

        What was a personal organisation is a team's from now on.

        Every row is locked. The trigger `organization_has_owner` looks at the end of the transaction.
        """
        owner.role = "admin"
        await self.session.flush()
        target.role, target.team_role_id = "owner", None
        if organization.kind == "personal":
            organization.kind, organization.version = "team", organization.version + 1
        await self.session.flush()

    async def entry_of(self, organization_id: UUID, user_id: UUID, session_id: UUID) -> Row[Any] | None:
        """What decides whether a person's session may enter the organisation; None for no member."""
        return await PeopleRepository(self.session).membership(user_id, session_id, organization_id)

    async def profile(self, user_id: UUID) -> Profile | None:
        """What a person says about themselves."""
        return await PeopleRepository(self.session).profile(user_id)

    async def names(self, organization_id: UUID, *people: UUID) -> tuple[str, dict[UUID, str]]:
        """What an organisation is called, and what these people are: by name, or else by address."""
        name = await self.session.scalar(select(Organization.name).where(Organization.id == organization_id))
        statement = (
            select(User.id, func.coalesce(func.nullif(Profile.full_name, ""), User.email))
            .outerjoin(Profile, Profile.user_id == User.id)
            .where(User.id.in_(people))
        )
        rows: Sequence[Any] = (await self.session.execute(statement)).all()
        return name or "", {row[0]: row[1] for row in rows}
