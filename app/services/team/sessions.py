"""Owns what becomes of people's sessions when an organisation is no longer open to them."""

from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.events import emit_all
from app.repositories.team import TeamSessionRepository
from app.repositories.team.sessions import Ended
from app.services.auth.events import SessionRevoked


async def send_home(
    session: SystemSession, organization_id: UUID, user_id: UUID | None, now: datetime
) -> int:
    """Take the organisation from the sessions of a person, or of everybody; answers how many it were.

    Those that came by its single sign-on end, the others work in the personal organisation from now on.
    """
    sessions = TeamSessionRepository(session)
    ended = await sessions.end_of_sso(organization_id, user_id, now)
    await tell_of_ended(session, ended, "membership_ended")
    return len(ended) + await sessions.move_home(organization_id, user_id, now)


async def tell_of_ended(session: SystemSession, ended: Ended, reason: str) -> None:
    """Say of every session that it was ended, so that what is open by it closes."""
    await emit_all(
        session,
        [
            SessionRevoked(user_id=user_id, session_id=session_id, reason=reason)
            for session_id, user_id in ended
        ],
    )
