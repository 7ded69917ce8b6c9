"""Owns the questions to sessions: opening, rotating, ending and listing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, Uuid, and_, exists, func, literal, select, update

from app.models.auth import User, UserSession
from app.models.settings import Profile
from app.models.team import Organization, TeamMember, TeamRole
from app.repositories.base import Repository

DEVICE_REMEMBERED = timedelta(days=90)
"""How long after its end a session still vouches for its device."""


@dataclass(frozen=True, slots=True)
class SessionCard:
    """Whose session it is and where it works: what an answer shows beside the tokens."""

    user: User
    full_name: str | None
    avatar_file_id: UUID | None
    organization: Organization | None
    role: str | None


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What an account already knows: whether it had a session before, and whether this device had one."""

    has_sessions: bool
    knows_device: bool


class SessionRepository(Repository[UserSession]):
    """Sessions; a session id is unguessable, and every question that a person asks binds their own id."""

    model = UserSession

    async def with_status(self, session_id: UUID) -> tuple[UserSession, str] | None:
        """A session as it stands, with the status of its person."""
        statement = select(UserSession, User.status).join(User).where(UserSession.id == session_id)
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def card(self, session: UserSession) -> SessionCard:
        """Whose session it is and where it works, in one statement."""
        statement = (
            select(
                User,
                Profile.full_name,
                Profile.avatar_file_id,
                Organization,
                # A custom role goes by its key.
                func.coalesce(TeamRole.key, TeamMember.role),
            )
            .outerjoin(Profile, Profile.user_id == User.id)
            .outerjoin(
                TeamMember,
                and_(TeamMember.user_id == User.id, TeamMember.organization_id == session.organization_id),
            )
            .outerjoin(
                TeamRole,
                and_(
                    TeamRole.organization_id == TeamMember.organization_id,
                    TeamRole.id == TeamMember.team_role_id,
                ),
            )
            .outerjoin(
                Organization,
                and_(Organization.id == TeamMember.organization_id, Organization.deleted_at.is_(None)),
            )
            .where(User.id == session.user_id)
        )
        row = (await self.session.execute(statement)).one()
        return SessionCard(row[0], row[1], row[2], row[3], row[4])

    async def knows_device(self, user_id: UUID | None, key_hash: bytes | None, now: datetime) -> bool:
        """Whether a device key stands on one of the account's sessions, live or ended within 90 days.

        Without a person or a key it is the same statement, which finds nothing.
        """
        ended_at = func.least(
            func.coalesce(UserSession.revoked_at, UserSession.expires_at), UserSession.expires_at
        )
        statement = select(
            exists().where(
                UserSession.user_id == literal(user_id, Uuid()),
                UserSession.device_key_hash == literal(key_hash, LargeBinary()),
                ended_at > now - DEVICE_REMEMBERED,
            )
        )
        return bool(await self.session.scalar(statement))

    async def device_keys(self, user_id: UUID, now: datetime) -> Sequence[bytes]:
        """The device keys that stand on the account's sessions of the last months."""
        statement = (
            select(UserSession.device_key_hash)
            .where(
                UserSession.user_id == user_id,
                UserSession.device_key_hash.is_not(None),
                UserSession.expires_at > now - DEVICE_REMEMBERED,
            )
            .distinct()
        )
        return [key for key in (await self.session.execute(statement)).scalars() if key is not None]

    async def acquaintance(
        self, user_id: UUID, *, key_hash: bytes | None, name: str | None, now: datetime
    ) -> Acquaintance:
        """What the account knows of a device: by its key, or without one by the name that it goes by."""
        is_same = UserSession.device_key_hash == key_hash if key_hash else UserSession.device_name == name
        recent = UserSession.expires_at > now - DEVICE_REMEMBERED
        statement = select(
            func.count(UserSession.id) > 0,
            func.coalesce(func.bool_or(and_(is_same, recent)), False),
        ).where(UserSession.user_id == user_id)
        row = (await self.session.execute(statement)).one()
        return Acquaintance(row[0], row[1])

    async def rotate(self, session_id: UUID, counter: int, now: datetime) -> UserSession | None:
        """Move a live session from this refresh counter to the next; None when it is elsewhere or over."""
        statement = (
            update(UserSession)
            .where(UserSession.id == session_id, UserSession.refresh_counter == counter, *is_live(now))
            .values(refresh_counter=counter + 1, refreshed_at=now, last_activity_at=now)
            .returning(UserSession)
            .execution_options(populate_existing=True)
        )
        found: UserSession | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def end(self, *conditions: ColumnElement[bool], reason: str, now: datetime) -> Sequence[UUID]:
        """Revoke the sessions that meet the conditions and are not revoked yet; answers their ids."""
        # Locked in the order of their ids, as wherever several are changed; two orders could deadlock.
        ending = (
            select(UserSession.id)
            .where(*conditions, UserSession.revoked_at.is_(None))
            .order_by(UserSession.id)
            .with_for_update(key_share=True)
            .cte("ending")
        )
        statement = (
            update(UserSession)
            .where(UserSession.id.in_(select(ending.c.id)))
            .values(revoked_at=now, revoked_reason=reason)
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def end_of_person(
        self,
        user_id: UUID,
        *,
        reason: str,
        now: datetime,
        only: UUID | None = None,
        all_but: UUID | None = None,
    ) -> Sequence[UUID]:
        """Revoke a person's live sessions: all of them, only one, or all but one."""
        conditions: list[ColumnElement[bool]] = [UserSession.user_id == user_id, *is_live(now)]
        if only is not None:
            conditions.append(UserSession.id == only)
        if all_but is not None:
            conditions.append(UserSession.id != all_but)
        return await self.end(*conditions, reason=reason, now=now)

    async def enter(self, session_id: UUID, organization_id: UUID) -> None:
        """Make another organisation the active one of a session."""
        await self.session.execute(
            update(UserSession)
            .where(UserSession.id == session_id)
            .values(organization_id=organization_id)
            .execution_options(synchronize_session=False)
        )

    def live_of(self, user_id: UUID, now: datetime) -> Any:
        """The statement of a person's live sessions, each with its organisation's name.

        `created_at` and `id` are the pair by which the list is paged: it goes by the last activity.
        """
        return (
            select(
                UserSession,
                Organization.name,
                UserSession.last_activity_at.label("created_at"),
                UserSession.id.label("id"),
            )
            .join(Organization, Organization.id == UserSession.organization_id)
            .where(UserSession.user_id == user_id, *is_live(now))
        )

    async def with_organization(self, session_id: UUID) -> tuple[UserSession, str]:
        """A session with the name of its organisation."""
        statement = (
            select(UserSession, Organization.name)
            .join(Organization, Organization.id == UserSession.organization_id)
            .where(UserSession.id == session_id)
        )
        row = (await self.session.execute(statement)).one()
        return row[0], row[1]


def is_live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Not revoked, not past its end, not idle for too long."""
    idle_since = now - func.make_interval(0, 0, 0, 0, 0, 0, UserSession.idle_seconds)
    return (
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.last_activity_at > idle_since,
    )
