"""Owns turning a second factor on: a secret that is shown once, and the first code that proves it arrived."""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

import segno
from fastapi import Depends

from app.core import clock
from app.core.errors import Conflict, FieldError, Invalid
from app.core.events import emit
from app.core.ids import uuid7
from app.models.auth import MfaFactor, User
from app.repositories.auth import (
    MOST_TRIES,
    BackupCodeRepository,
    FactorRepository,
    PeopleRepository,
)
from app.schemas.auth.two_factor import (
    StartTwoFactor,
    TwoFactorEnabled,
    TwoFactorStarted,
    VerifyTwoFactor,
)
from app.services.auth.accounts import end_sessions, give_up_intruders_change
from app.services.auth.opening import replace_session
from app.services.auth.own_caller import OwnCaller
from app.services.auth.recipients import seen
from app.services.auth.refusals import remembered, session_revoked
from app.services.auth.second_factor import has_active_factor
from app.services.auth.second_factor.backup_codes import hashed, new_codes
from app.services.auth.second_factor.checking import give_try_back, note_failure, pay_try
from app.services.auth.second_factor.totp import (
    base32,
    matching_step,
    new_secret,
    provisioning_uri,
    seal_secret,
)
from app.services.auth.two_factor import events
from app.services.auth.two_factor.rules import PENDING_FOR, tries_limit

DEFAULT_NAME = "Authenticator"


class EnablingService:
    """Turns the caller's second factor on."""

    def __init__(self, caller: OwnCaller) -> None:
        self.caller = caller
        self.session = caller.session

    async def start(self, body: StartTwoFactor) -> TwoFactorStarted:
        """Make the secret of an authenticator that waits for its first code; a waiting one is replaced.

        409 `two_factor_already_enabled`. The active factor is never touched.
        """
        now = clock.now()
        await self.session.rollback()  # One connection at a time: the person is looked up through another.
        secret, identifier = new_secret(), uuid7()
        uri = provisioning_uri(secret, await self._email())
        picture = await asyncio.to_thread(qr_svg, uri)
        user = await self._locked()
        if await has_active_factor(self.session, user.id):
            raise Conflict("two_factor_already_enabled", "A second factor is on; turn it off first.")
        factors = FactorRepository(self.session)
        await factors.delete_pending(user.id)
        await factors.add(
            MfaFactor(
                id=identifier,
                user_id=user.id,
                type="totp",
                name=body.name or DEFAULT_NAME,
                secret_sealed=seal_secret(identifier, secret),
                status="pending",
                created_at=now,
            )
        )
        await emit(self.session, events.TwoFactorStarted(user_id=user.id, factor_id=identifier))
        return TwoFactorStarted(factor_id=identifier, secret=base32(secret), otpauth_uri=uri, qr_svg=picture)

    async def verify(self, body: VerifyTwoFactor) -> TwoFactorEnabled:
        """Turn the waiting authenticator on by its first code; the caller's session becomes one of aal 2.

        409 `two_factor_not_started`, 422 `code_invalid`, 429 `too_many_attempts`. Five wrong codes delete the
        waiting authenticator. Every other session ends.
        """
        now = clock.now()
        pending = await self._pay(body.factor_id, now)
        step = matching_step(pending, body.code, now)
        if step is None:
            await self._note_failure(pending)
            raise Invalid(
                "code_invalid",
                "This code is wrong; wait for the next one.",
                errors=[FieldError("/code", "code_invalid", "This code is wrong; wait for the next one.")],
            )
        codes = new_codes()
        hashes = await hashed(codes)
        user = await self._locked()
        if not await FactorRepository(self.session).activate(pending.id, step, now):
            raise not_started()
        user.mfa_enabled_at = now
        await BackupCodeRepository(self.session).replace(user.id, hashes, now)
        await give_try_back(self.session, user.id)
        principal, device = self.caller.principal, self.caller.device
        ended = await end_sessions(
            self.session, user.id, reason="two_factor_enabled", now=now, all_but=principal.session_id
        )
        await give_up_intruders_change(self.session, user)
        opened = await replace_session(self.session, principal, device, now, aal=2)
        await emit(
            self.session,
            events.TwoFactorEnabled(user_id=user.id, factor_id=pending.id, sessions_revoked=ended),
            private=seen(device, now),
        )
        return TwoFactorEnabled(backup_codes=codes, sessions_revoked=ended, session=opened)

    async def _pay(self, factor_id: UUID | None, now: datetime) -> MfaFactor:
        """Pay for the try at the waiting authenticator and at the account, both or neither."""
        async with remembered(self.session, self.caller.database) as own:
            pending = await FactorRepository(own).pay_pending(
                self.caller.user_id, now - PENDING_FOR, factor_id
            )
            if pending is None:
                raise not_started()
            await pay_try(own, self.caller.user_id, now, limit=tries_limit())
        return pending

    async def _note_failure(self, pending: MfaFactor) -> None:
        async with remembered(self.session, self.caller.database) as own:
            if pending.attempt_count >= MOST_TRIES:
                await FactorRepository(own).delete_pending(pending.user_id, pending.id)
            await note_failure(own, pending.user_id)

    async def _email(self) -> str:
        """The address that the app shows, read before the transaction that the picture would hold up."""
        async with self.caller.database.system(autocommit=True) as session:
            user = await PeopleRepository(session).get(self.caller.user_id)
        if user is None:
            raise session_revoked()
        return user.email

    async def _locked(self) -> User:
        user = await PeopleRepository(self.session).get(self.caller.user_id, lock=True)
        if user is None:
            raise session_revoked()
        return user


def qr_svg(uri: str) -> str:
    """The address as a picture, made on this machine: the secret must not travel for it."""
    svg: str = segno.make_qr(uri, error="m").svg_inline(scale=4)
    return svg


def not_started() -> Conflict:
    """409 when no authenticator waits for its first code."""
    return Conflict("two_factor_not_started", "No authenticator waits for a code; start anew.")


Enabling = Annotated[EnablingService, Depends()]
