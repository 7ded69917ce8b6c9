"""Owns what becomes of sessions when people lose an organisation: they move home, or they end."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from app.models.auth import UserSession
from app.models.team import Organization, TeamMember
from app.repositories.auth import SessionRepository
from app.repositories.auth.sessions import is_live
from app.repositories.base import Repository

Ended = Sequence[tuple[UUID, UUID]]
"""The sessions that were ended: each with its person."""


class TeamSessionRepository(Repository[UserSession]):
    """Sessions of other people, for a session that sees everybody; the organisation is the bound."""

    model = UserSession

    async def scope(self, session_id: UUID) -> UUID | None:
        """The organisation whose single sign-on a session is limited to; None for every other session."""
        found: UUID | None = await self.session.scalar(
            select(UserSession.sso_organization_id).where(UserSession.id == session_id)
        )
        return found

    async def end_of_sso(self, organization_id: UUID, user_id: UUID | None, now: datetime) -> Ended:
        """End the sessions that came by the organisation's single sign-on: of one person, or of everybody."""
        conditions: list[ColumnElement[bool]] = [UserSession.sso_organization_id == organization_id]
        if user_id is not None:
            conditions.append(UserSession.user_id == user_id)
        return await self._end(conditions, "membership_ended", now)

    async def end_active(self, organization_id: UUID, user_id: UUID, now: datetime) -> Ended:
        """End a person's sessions that are active in the organisation."""
        conditions = [
            UserSession.organization_id == organization_id,
            UserSession.user_id == user_id,
            *is_live(now),
        ]
        return await self._end(conditions, "ended_by_administrator", now)

    async def move_home(self, organization_id: UUID, user_id: UUID | None, now: datetime) -> int:
        """Let the live sessions in the organisation, of one person or of everybody, work at home from now on.

        Home is the personal organisation. A session of somebody who has none stays, and finds nothing there.
        """
        home = (
            select(TeamMember.user_id, TeamMember.organization_id)
            .join(Organization, Organization.id == TeamMember.organization_id)
            .where(
                TeamMember.role == "owner",
                Organization.kind == "personal",
                Organization.deleted_at.is_(None),
                Organization.id != organization_id,
            )
            .subquery("home")
        )
        conditions = [UserSession.organization_id == organization_id, *is_live(now)]
        if user_id is not None:
            conditions.append(UserSession.user_id == user_id)
        # Locked in one order, so that two moves of the same sessions do not wait for each other.
        moving = (
            select(UserSession.id)
            .where(*conditions)
            .order_by(UserSession.id)
            .with_for_update(key_share=True)
            .cte("moving")
        )
        statement = (
            update(UserSession)
            .where(UserSession.id.in_(select(moving.c.id)), UserSession.user_id == home.c.user_id)
            .values(organization_id=home.c.organization_id)
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return len(set((await self.session.execute(statement)).scalars()))

    async def _end(self, conditions: Sequence[ColumnElement[bool]], reason: str, now: datetime) -> Ended:
        people = (
            select(UserSession.id, UserSession.user_id)
            .where(*conditions, UserSession.revoked_at.is_(None))
            .order_by(UserSession.id)
            .with_for_update(key_share=True)
        )
        found = [(row[0], row[1]) for row in (await self.session.execute(people)).all()]
        if not found:
            return []
        ended = set(
            await SessionRepository(self.session).end(
                UserSession.id.in_([session_id for session_id, _ in found]), reason=reason, now=now
            )
        )
        return [(session_id, user_id) for session_id, user_id in found if session_id in ended]
