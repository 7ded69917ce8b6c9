"""Who is told of an event: people by what their role allows now, or by name, with all that telling needs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, any_, func, literal, or_, select

from app.core.database import ScopedSession
from app.core.permissions import HOLDERS, Permission
from app.models.auth import User
from app.models.integrations import ApiKey
from app.models.notifications import NotificationPreference, PushSubscription
from app.models.settings import Profile
from app.models.team import Organization, TeamMember, TeamRole


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who is told, with their wishes for one category by channel, and their browsers."""

    user_id: UUID
    email: str
    email_confirmed_at: datetime | None
    locale: str
    name: str
    wishes: Mapping[str, bool]
    browsers: tuple[UUID, ...]


class ReaderRepository:
    """Questions about people who are to be told; every one names its organisation or its people."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def holders(
        self,
        organization_id: UUID,
        permission: Permission,
        *,
        also: Collection[UUID] = (),
        category: str,
        after: UUID | None,
        limit: int,
    ) -> list[Reader]:
        """Active members whose role has the permission now, and those named, in the order of their ids.

        One statement, however many they are.
        """
        is_told = or_(
            TeamMember.role.in_([role.value for role in HOLDERS[permission]]),
            literal(permission.value) == any_(TeamRole.permissions),
            TeamMember.user_id.in_(list(also)),
        )
        statement = _members(_readers(category), organization_id).where(is_told)
        return await self._read(statement, after, limit)

    async def members(
        self,
        organization_id: UUID,
        people: Collection[UUID],
        *,
        category: str,
        after: UUID | None,
        limit: int,
    ) -> list[Reader]:
        """Those of these people who are active members."""
        statement = _members(_readers(category), organization_id).where(User.id.in_(list(people)))
        return await self._read(statement, after, limit)

    async def people(
        self,
        people: Collection[UUID],
        *,
        category: str,
        is_always_told: bool,
        after: UUID | None,
        limit: int,
    ) -> list[Reader]:
        """Those of these people who have an account; a suspended one only when they are always told."""
        is_there = User.status != "erased" if is_always_told else User.status == "active"
        statement = _readers(category).where(User.id.in_(list(people)), is_there)
        return await self._read(statement, after, limit)

    async def address_of(self, user_id: UUID) -> str | None:
        """The address of a person; None for an erased one."""
        statement = select(User.email).where(User.id == user_id, User.status != "erased")
        found: str | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def confirmed_holder(self, canonical: str) -> UUID | None:
        """Who has an account with this confirmed address."""
        statement = select(User.id).where(
            User.email_canonical == canonical,
            User.status == "active",
            User.email_confirmed_at.is_not(None),
        )
        found: UUID | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def names(self, organization_id: UUID, people: Collection[UUID]) -> tuple[str, dict[UUID, str]]:
        """The name of the organisation, and of those of the people who gave one."""
        statement = (
            select(Organization.name, Profile.user_id, Profile.full_name)
            .outerjoin(Profile, Profile.user_id.in_(list(people)))
            .where(Organization.id == organization_id)
        )
        rows = (await self.session.execute(statement)).all()
        named = {row.user_id: row.full_name for row in rows if row.full_name}
        return (rows[0].name if rows else ""), named

    async def maker_of_key(self, organization_id: UUID, key_id: UUID) -> UUID | None:
        """Who made an API key."""
        statement = select(ApiKey.created_by).where(
            ApiKey.organization_id == organization_id, ApiKey.id == key_id
        )
        found: UUID | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def _read(self, statement: Select[Any], after: UUID | None, limit: int) -> list[Reader]:
        if after is not None:
            statement = statement.where(User.id > after)
        rows = await self.session.execute(statement.order_by(User.id).limit(limit))
        return [
            Reader(
                user_id=row.id,
                email=row.email,
                email_confirmed_at=row.email_confirmed_at,
                locale=row.locale or "fr",
                name=row.full_name or "",
                wishes=row.wishes or {},
                browsers=tuple(row.browsers or ()),
            )
            for row in rows
        ]


def _readers(category: str) -> Select[Any]:
    wishes = (
        select(func.jsonb_object_agg(NotificationPreference.channel, NotificationPreference.is_enabled))
        .where(NotificationPreference.user_id == User.id, NotificationPreference.category == category)
        .scalar_subquery()
    )
    browsers = (
        select(func.array_agg(PushSubscription.id))
        .where(PushSubscription.user_id == User.id)
        .scalar_subquery()
    )
    return select(
        User.id,
        User.email,
        User.email_confirmed_at,
        Profile.locale,
        Profile.full_name,
        wishes.label("wishes"),
        browsers.label("browsers"),
    ).outerjoin(Profile, Profile.user_id == User.id)


def _members(statement: Select[Any], organization_id: UUID) -> Select[Any]:
    role: ColumnElement[bool] = and_(
        TeamRole.organization_id == TeamMember.organization_id, TeamRole.id == TeamMember.team_role_id
    )
    return (
        statement.join(TeamMember, TeamMember.user_id == User.id)
        .outerjoin(TeamRole, role)
        .where(
            TeamMember.organization_id == organization_id,
            TeamMember.status == "active",
            User.status == "active",
        )
    )
