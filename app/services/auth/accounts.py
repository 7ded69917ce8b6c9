"""Owns what a proof does to an account besides its purpose: sessions end, tokens die, the address counts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.events import emit, emit_all
from app.models.auth import User
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository, SessionRepository
from app.services.auth.events import EmailConfirmed, SessionRevoked
from app.services.auth.one_time_tokens import RESCUES


async def end_sessions(
    session: SystemSession, user_id: UUID, *, reason: str, now: datetime, all_but: UUID | None = None
) -> int:
    """End a person's live sessions, or all but one, and tell of each; how many they were."""
    ended = await SessionRepository(session).end_of_person(user_id, reason=reason, now=now, all_but=all_but)
    await emit_all(
        session, [SessionRevoked(user_id=user_id, session_id=ended_id, reason=reason) for ended_id in ended]
    )
    return len(ended)


async def void_tokens(
    session: SystemSession, user_id: UUID, now: datetime, *, only: Sequence[str] | None = None
) -> None:
    """Take a person's mailed tokens out of use: those of some purposes, or all of them.

    What takes an intruder's work back stays good: otherwise the intruder would void it first.
    """
    await OneTimeTokenRepository(session).void_all(user_id, now, only=only, but=RESCUES)


async def confirm_address(session: SystemSession, user: User, now: datetime, *, keep_password: bool) -> None:
    """Note that a person proved their address, unless it was known; `user` is locked.

    Whoever signed up with the address had not proved it. With `keep_password` false the password, sessions
    and tokens of that sign-up are dropped, so that a stranger who came first is not let in with the owner.
    """
    if user.email_confirmed_at is not None:
        return
    user.email_confirmed_at = now
    if not keep_password:
        await PeopleRepository(session).remove_password(user.id)
        await end_sessions(session, user.id, reason="email_confirmed", now=now)
        await void_tokens(session, user.id, now)
    await emit(session, EmailConfirmed(user_id=user.id))
