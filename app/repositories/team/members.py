"""Owns the questions to the team of an organisation: its lock, its members, its seats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.types import Boolean, DateTime, Text, Uuid

from app.core.permissions import Permission, permissions_of
from app.models.auth import User, UserSession
from app.models.settings import Profile
from app.models.team import Invitation, Organization, TeamMember, TeamRole
from app.repositories.base import Repository


@dataclass(frozen=True, slots=True)
class Standing:
    """A membership with the custom role that it may have."""

    member: TeamMember
    custom: TeamRole | None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role allows, whether or not the membership is suspended."""
        if self.custom is not None:
            return self.permissions_of_role(self.custom)
        return permissions_of(self.member.role, None)

    @staticmethod
    def permissions_of_role(role: TeamRole) -> frozenset[Permission]:
        """What a custom role allows."""
        return permissions_of("custom", role.permissions)

    @property
    def role_key(self) -> str:
        """The key of the role as callers know it."""
        return self.custom.key if self.custom else self.member.role


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

    async def standing(
        self,
        organization_id: UUID,
        *,
        member_id: UUID | None = None,
        user_id: UUID | None = None,
        canonical: str | None = None,
    ) -> Standing | None:
        """The membership in the organisation that has this id, or this person, or this address."""
        statement = (
            select(TeamMember, TeamRole)
            .outerjoin(TeamRole, _of_member())
            .where(TeamMember.organization_id == organization_id)
            .execution_options(populate_existing=True)
        )
        if member_id is not None:
            statement = statement.where(TeamMember.id == member_id)
        elif user_id is not None:
            statement = statement.where(TeamMember.user_id == user_id)
        else:
            statement = statement.join(User, User.id == TeamMember.user_id).where(
                User.email_canonical == canonical, User.status != "erased"
            )
        row = (await self.session.execute(statement)).one_or_none()
        return Standing(row[0], row[1]) if row else None

    async def row(self, organization_id: UUID, member_id: UUID) -> Any:
        """One member as a row of the list, or None."""
        statement = member_rows(organization_id).where(TeamMember.id == member_id)
        return (await self.session.execute(statement)).one_or_none()

    async def count_seats(self, organization_id: UUID, now: datetime) -> tuple[int, int]:
        """How many seats are taken: by members (active and suspended), and by open invitations.

        The caller holds the lock of the organisation, under which both are added.
        """
        pending = (
            select(func.count(Invitation.id))
            .where(
                Invitation.organization_id == organization_id,
                Invitation.status == "pending",
                Invitation.expires_at > now,
            )
            .scalar_subquery()
        )
        members = select(func.count(TeamMember.id), pending).where(
            TeamMember.organization_id == organization_id
        )
        row = (await self.session.execute(members)).one()
        return int(row[0]), int(row[1])

    async def count_without_factor(self, organization_id: UUID) -> int:
        """How many members have no second factor."""
        statement = (
            select(func.count(TeamMember.id))
            .join(User, User.id == TeamMember.user_id)
            .where(TeamMember.organization_id == organization_id, User.mfa_enabled_at.is_(None))
        )
        return int(await self.session.scalar(statement) or 0)

    async def people_in(self, organization_id: UUID, roles: Sequence[str]) -> Sequence[UUID]:
        """The active members who have one of these built-in roles, the owner first."""
        statement = (
            select(TeamMember.user_id)
            .where(
                TeamMember.organization_id == organization_id,
                TeamMember.role.in_(roles),
                TeamMember.status == "active",
            )
            .order_by((TeamMember.role == "owner").desc(), TeamMember.joined_at, TeamMember.id)
        )
        return (await self.session.scalars(statement)).all()

    async def change(self, member: TeamMember, values: Mapping[str, Any]) -> None:
        """Write these values into a membership that the caller has read under the organisation's lock."""
        for name, value in values.items():
            setattr(member, name, value)
        await self.session.flush()

    async def release_managed(self, organization_id: UUID, user_id: UUID) -> None:
        """Let a person whose account the organisation managed have it for themselves."""
        await self.session.execute(
            update(User)
            .where(User.id == user_id, User.managed_by_organization_id == organization_id)
            .values(managed_by_organization_id=None)
            .execution_options(synchronize_session=False)
        )

    async def note_activity(self, since: datetime) -> None:
        """Write the latest activity of every session since then into its membership.

        One that somebody is changing at the moment waits for the next time: members are locked in an order.
        """
        latest = (
            select(
                UserSession.user_id,
                UserSession.organization_id,
                func.max(UserSession.last_activity_at).label("at"),
            )
            .where(UserSession.last_activity_at >= since)
            .group_by(UserSession.user_id, UserSession.organization_id)
            .subquery()
        )
        behind = (
            select(TeamMember.organization_id, TeamMember.id, latest.c.at)
            .join(
                latest,
                and_(
                    TeamMember.user_id == latest.c.user_id,
                    TeamMember.organization_id == latest.c.organization_id,
                ),
            )
            .where(or_(TeamMember.last_active_at.is_(None), TeamMember.last_active_at < latest.c.at))
            .with_for_update(of=TeamMember, key_share=True, skip_locked=True)
            .cte("behind")
        )
        await self.session.execute(
            update(TeamMember)
            .where(TeamMember.organization_id == behind.c.organization_id, TeamMember.id == behind.c.id)
            # It is no change of the membership.
            .values(last_active_at=behind.c.at, updated_at=TeamMember.updated_at)
            .execution_options(synchronize_session=False)
        )


@dataclass(frozen=True, slots=True)
class Sought:
    """What a list of the team is narrowed by; None is everybody."""

    q: str | None = None
    role: str | None = None
    status: str | None = None


class TeamListing:
    """The statement of a team's members, with or without those who are invited, as one list.

    Its columns are those of a row of the list; `created_at` and `id` are the pair by which it is paged: when
    somebody joined, or was invited.
    """

    def __init__(self, organization_id: UUID, sought: Sought, *, invited_at: datetime | None = None) -> None:
        members = _members(organization_id, sought)
        if invited_at is None:
            self.rows = members.subquery("team")
        else:
            self.rows = union_all(members, _invited(organization_id, sought, invited_at)).subquery("team")
        self.statement: Select[Any] = select(*self.rows.c)

    def column(self, name: str) -> Any:
        """A column of the list, to sort by."""
        return self.rows.c[name]


def member_rows(organization_id: UUID) -> Select[Any]:
    """The members of the organisation, as rows of the list."""
    columns: list[Any] = [
        literal("member", Text()).label("type"),
        TeamMember.id.label("id"),
        TeamMember.user_id.label("user_id"),
        User.email.label("email"),
        Profile.full_name.label("full_name"),
        Profile.avatar_file_id.label("avatar_file_id"),
        _role_key().label("role"),
        TeamRole.name.label("role_name"),
        TeamMember.status.label("status"),
        User.mfa_enabled_at.is_not(None).label("mfa_enabled"),
        TeamMember.last_active_at.label("last_active_at"),
        TeamMember.joined_at.label("joined_at"),
        TeamMember.invited_by.label("invited_by"),
        TeamMember.joined_at.label("created_at"),
    ]
    return (
        select(*columns)
        .join(User, User.id == TeamMember.user_id)
        .outerjoin(Profile, Profile.user_id == TeamMember.user_id)
        .outerjoin(TeamRole, _of_member())
        .where(TeamMember.organization_id == organization_id)
    )


def _members(organization_id: UUID, sought: Sought) -> Select[Any]:
    statement = member_rows(organization_id)
    if sought.q is not None:
        statement = statement.where(or_(_begins(Profile.full_name, sought.q), _begins(User.email, sought.q)))
    if sought.role is not None:
        statement = statement.where(_role_key() == sought.role)
    if sought.status is not None:
        statement = statement.where(TeamMember.status == sought.status)
    return statement


def _invited(organization_id: UUID, sought: Sought, now: datetime) -> Select[Any]:
    columns: list[Any] = [
        literal("invitation", Text()),
        Invitation.id,
        type_coerce(null(), Uuid()),
        Invitation.email,
        type_coerce(null(), Text()),
        type_coerce(null(), Uuid()),
        Invitation.role_key,
        TeamRole.name,
        Invitation.status,
        type_coerce(null(), Boolean()),
        type_coerce(null(), DateTime(timezone=True)),
        type_coerce(null(), DateTime(timezone=True)),
        Invitation.invited_by,
        Invitation.created_at,
    ]
    statement = (
        select(*columns)
        .outerjoin(
            TeamRole,
            and_(
                TeamRole.organization_id == Invitation.organization_id,
                TeamRole.id == Invitation.team_role_id,
            ),
        )
        .where(
            Invitation.organization_id == organization_id,
            Invitation.status == "pending",
            Invitation.expires_at > now,
        )
    )
    if sought.q is not None:
        statement = statement.where(_begins(Invitation.email, sought.q))
    if sought.role is not None:
        statement = statement.where(Invitation.role_key == sought.role)
    if sought.status is not None:
        statement = statement.where(Invitation.status == sought.status)
    return statement


def _begins(column: Any, prefix: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = func.lower(column).startswith(prefix.lower(), autoescape=True)
    return found


def _role_key() -> ColumnElement[str]:
    return case((TeamMember.role == "custom", TeamRole.key), else_=TeamMember.role)


def _of_member() -> ColumnElement[bool]:
    return and_(
        TeamRole.organization_id == TeamMember.organization_id, TeamRole.id == TeamMember.team_role_id
    )
