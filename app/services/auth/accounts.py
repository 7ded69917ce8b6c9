"""Owns what a proof does to an account besides its purpose: sessions end, tokens die, the address counts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.database import ScopedSession, SystemSession
from app.core.errors import Conflict, translate_constraint
from app.core.events import emit, emit_all
from app.core.mail_addresses import MailAddress
from app.models.auth import OneTimeToken, User, UserSession
from app.repositories.auth import (
    AccountRepository,
    FactorRepository,
    OneTimeTokenRepository,
    PeopleRepository,
    SessionRepository,
)
from app.services.auth.events import EmailConfirmed, SessionRevoked
from app.services.auth.one_time_tokens import RESCUES, why_dead
from app.services.auth.refusals import token_invalid
from app.services.privacy.consents import withdraw_unproved

translate_constraint(
    "users_email_canonical_key",
    Conflict("email_taken", "Another account has this address by now; choose another one."),
)

SIGNED_OUT = "signed_out"
"""Why a session ended that signed itself out; what it asked for lives on."""


async def locked_person(session: ScopedSession, user_id: UUID) -> User | None:
    """A person whom nobody else changes until the transaction ends."""
    return await PeopleRepository(session).get(user_id, lock=True)


async def holder_of(session: SystemSession, canonical: str) -> User | None:
    """The account that has an address."""
    return await PeopleRepository(session).by_address(canonical)


async def use_token(
    session: SystemSession, purpose: str, identifier: UUID, now: datetime
) -> tuple[User, OneTimeToken]:
    """Use a person's mailed token up; the person, locked, and the token.

    400 `token_invalid`, also for an account that is not active any more; 410 `token_used`, `token_expired`.
    """
    tokens = OneTimeTokenRepository(session)
    token = await tokens.of_purpose(identifier, purpose)
    if token is None or token.user_id is None:
        raise token_invalid()
    # The person is locked before the token, as everywhere; two orders could deadlock.
    user = await locked_person(session, token.user_id)
    used = await tokens.consume(identifier, purpose, now)
    if used is None:
        raise await why_dead(session, purpose, identifier, now)
    if user is None or user.status != "active":
        raise token_invalid()
    return user, used


async def end_sessions(
    session: SystemSession,
    user_id: UUID,
    *,
    reason: str,
    now: datetime,
    only: UUID | None = None,
    all_but: UUID | None = None,
) -> int:
    """End a person's live sessions, or only one, or all but one, and tell of each; how many they were.

    Sign-ins that wait for their second factor end with several, since nobody says whose they are.
    """
    if only is None:
        await AccountRepository(session).end_challenges(user_id)
    ended = await SessionRepository(session).end_of_person(
        user_id, only=only, all_but=all_but, reason=reason, now=now
    )
    await emit_all(
        session, [SessionRevoked(user_id=user_id, session_id=ended_id, reason=reason) for ended_id in ended]
    )
    return len(ended)


async def successor_of(session: ScopedSession, session_id: UUID) -> UserSession | None:
    """The session that has taken a session's place since, as after a change of the password; else itself."""
    sessions = SessionRepository(session)
    row = await sessions.get(session_id)
    while row is not None and row.replaced_by is not None:
        row = await sessions.get(row.replaced_by)
    return row


def was_thrown_out(asking: UserSession | None) -> bool:
    """Whether a session's person has ended it from elsewhere, as one does with an intruder's."""
    return asking is not None and asking.revoked_reason not in (None, SIGNED_OUT)


async def give_up_change(session: ScopedSession, user: User) -> None:
    """Forget the change of address that waits for its proof, if there is one; `user` is locked."""
    if user.pending_email is not None:
        user.pending_email = None
        await AccountRepository(session).give_up_change(user.id)


async def give_up_intruders_change(session: ScopedSession, user: User) -> None:
    """The same, if the session that asked for the change was thrown out; called when sessions have ended."""
    if user.pending_email is None:
        return
    asked_in = await AccountRepository(session).change_asked_in(user.id)
    if asked_in is not None and was_thrown_out(await successor_of(session, asked_in)):
        await give_up_change(session, user)


async def void_tokens(
    session: SystemSession, user_id: UUID, now: datetime, *, only: Sequence[str] | None = None
) -> None:
    """Take a person's mailed tokens out of use: those of some purposes, or all of them.

    What takes an intruder's work back stays good: otherwise the intruder would void it first.
    """
    await OneTimeTokenRepository(session).void_all(user_id, now, only=only, but=RESCUES)


async def confirm_address(session: SystemSession, user: User, now: datetime, *, keep_password: bool) -> None:
    """Note that a person proved their address, unless it was known; `user` is locked.

    Whoever signed up with the address had not proved it. With `keep_password` false the password, sessions,
    tokens and consents of that sign-up are dropped, so that a stranger who came first is not let in with the
    owner, and has not spoken for them.
    """
    if user.email_confirmed_at is not None:
        return
    user.email_confirmed_at = now
    if not keep_password:
        await AccountRepository(session).remove_password(user.id)
        await end_sessions(session, user.id, reason="email_confirmed", now=now)
        await void_tokens(session, user.id, now)
        await give_up_change(session, user)
        await withdraw_unproved(session, user.id, now)
    await emit(session, EmailConfirmed(user_id=user.id))


async def move_address(session: SystemSession, user: User, address: MailAddress, now: datetime) -> None:
    """Give a locked person an address that they proved; 409 `email_taken` if another account has it."""
    user.email = address.address
    user.email_canonical = address.canonical
    user.email_confirmed_at = now
    user.pending_email = None
    await session.flush()


async def strip_since(session: SystemSession, user: User, since: datetime) -> None:
    """Take the ways in that a locked person got after a moment away, and the password whenever it was set."""
    account = AccountRepository(session)
    await account.remove_password(user.id)
    await account.remove_made_after(user.id, since)
    if not await FactorRepository(session).has_active(user.id):
        user.mfa_enabled_at = None
        await session.flush()
