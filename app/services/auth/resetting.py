"""Owns the reset of a password: the same work for every address, and a mailed link for who has an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.callers import caller_facts
from app.core.database import DatabaseOf, SystemSession, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Unauthenticated
from app.core.events import CALLER, emit
from app.core.mail_addresses import parse_address
from app.core.passwords import hash_password
from app.repositories.auth import MOST_ATTEMPTS, OneTimeTokenRepository, PeopleRepository
from app.schemas.auth import PasswordWasReset, ResetPassword, ResetSent
from app.services.auth.accounts import (
    confirm_address,
    end_sessions,
    give_up_change,
    use_token,
    void_tokens,
)
from app.services.auth.events import PasswordReset, PasswordResetAsked, PasswordResetRequested
from app.services.auth.mail_limit import MailLimits
from app.services.auth.one_time_tokens import (
    PASSWORD_RESET,
    is_live,
    issue_for_person,
    token_id,
    void_token,
    why_dead,
)
from app.services.auth.password_rules import refuse_weak_password
from app.services.auth.recipients import seen
from app.services.auth.refusals import remembered, token_invalid
from app.services.auth.second_factor import check_factor, has_active_factor
from app.services.auth.throttle import forgive
from app.services.privacy.consents import withdraw_unproved


class ForgottenService:
    """Takes the wish for a new password, without looking whether anybody has the address."""

    def __init__(self, session: Unscoped, mails: MailLimits, device: CallingDevice) -> None:
        self.session = session
        self.mails = mails
        self.device = device

    async def ask(self, email: str) -> ResetSent:
        """Have a link mailed if the address has an account.

        Neither the answer nor its time tells whether it has: that is looked up when the event is handled.
        """
        canonical = parse_address(email).canonical
        is_allowed = await self.mails.allows(canonical)
        await emit(
            self.session,
            PasswordResetAsked(),
            private={
                "canonical": canonical,
                "is_allowed": is_allowed,
                "seen": {**seen(self.device, clock.now()), CALLER: caller_facts()},
            },
        )
        return ResetSent()


async def request_reset(session: SystemSession, wish: Mapping[str, Any]) -> None:
    """Make the token of a reset and have it mailed; nothing for an address that nobody has."""
    user = await PeopleRepository(session).by_address(wish["canonical"], lock=True)
    if user is None or user.status != "active":
        return
    made = await issue_for_person(session, PASSWORD_RESET, user, clock.now())
    private = {**wish["seen"], "token_id": made}
    await emit(session, PasswordResetRequested(user_id=user.id), private=private)


@dataclass(frozen=True, slots=True)
class _Account:
    """Whose password is to be set, as it stood before the password was hashed."""

    user_id: UUID
    email: str
    full_name: str | None
    has_factor: bool


class ResettingService:
    """Sets the password of who holds the mail, and of the second factor if there is one."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def reset(self, body: ResetPassword) -> PasswordWasReset:
        """Use the token up and set the password. It opens no session.

        400 `token_invalid`, 410 `token_used` or `token_expired`, 422 `password_rejected`, 401 `mfa_required`
        and `mfa_code_invalid`: these keep the token, but for the fifth wrong code.
        """
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        now = clock.now()
        identifier = token_id(PASSWORD_RESET, body.token)
        account = await self._look(identifier, now)
        await refuse_weak_password(
            body.new_password, email=account.email, full_name=account.full_name, pointer="/new_password"
        )
        if account.has_factor and body.code is None and body.backup_code is None:
            raise mfa_required()
        hashed = await hash_password(body.new_password)
        if account.has_factor:
            await self._check_factor(identifier, account.user_id, body, now)
        return await self._write(identifier, hashed, now, proved_factor=account.has_factor)

    async def _look(self, identifier: UUID, now: datetime) -> _Account:
        async with self.database.system(autocommit=True) as session:
            token = await OneTimeTokenRepository(session).of_purpose(identifier, PASSWORD_RESET)
            if token is None or token.user_id is None:
                raise token_invalid()
            if not is_live(token, now):
                raise await why_dead(session, PASSWORD_RESET, identifier, now)
            people = PeopleRepository(session)
            user = await people.get(token.user_id)
            if user is None or user.status != "active":
                raise token_invalid()
            profile = await people.profile(user.id)
            has_factor = await has_active_factor(session, user.id)
            return _Account(user.id, user.email, profile.full_name if profile else None, has_factor)

    async def _check_factor(
        self, identifier: UUID, user_id: UUID, body: ResetPassword, now: datetime
    ) -> None:
        """Consume the second factor's code; every try is paid for, and the fifth wrong one ends the token."""
        async with remembered(self.session, self.database) as own:
            attempts = await OneTimeTokenRepository(own).pay_attempt_of(identifier, PASSWORD_RESET, now)
            if attempts is None:
                raise await why_dead(own, PASSWORD_RESET, identifier, now)
        try:
            await check_factor(
                self.session,
                self.database,
                user_id,
                code=body.code,
                backup_code=body.backup_code,
                now=now,
                device=self.device,
            )
        except Unauthenticated:
            if attempts >= MOST_ATTEMPTS:
                await void_token(self.session, self.database, identifier, now)
            raise

    async def _write(
        self, identifier: UUID, hashed: str, now: datetime, *, proved_factor: bool
    ) -> PasswordWasReset:
        user, _ = await use_token(self.session, PASSWORD_RESET, identifier, now)
        if not proved_factor and await has_active_factor(self.session, user.id):
            # It was turned on after the look; the refusal gives the token back.
            raise mfa_required()
        await PeopleRepository(self.session).set_password(user.id, hashed, now)
        if user.email_confirmed_at is None:
            # The mail proves the address, and says nothing about who signed up with it.
            await withdraw_unproved(self.session, user.id, now)
        await confirm_address(self.session, user, now, keep_password=True)
        revoked = await end_sessions(self.session, user.id, reason="password_reset", now=now)
        await void_tokens(self.session, user.id, now)
        await give_up_change(self.session, user)
        await forgive(self.session, user.email_canonical, user.id, now)
        await emit(
            self.session,
            PasswordReset(user_id=user.id, sessions_revoked=revoked),
            private=seen(self.device, now),
        )
        return PasswordWasReset(sessions_revoked=revoked)


def mfa_required() -> Unauthenticated:
    """401 for a right token of an account whose second factor is asked, too."""
    return Unauthenticated(
        "mfa_required",
        "This account has a second factor: send the app's `code` or a `backup_code` with the token.",
        methods=["totp", "backup_code"],
    )


Forgotten = Annotated[ForgottenService, Depends()]
Resetting = Annotated[ResettingService, Depends()]
