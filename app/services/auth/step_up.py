"""Owns the second check of a signed-in person (RFC 9470)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NoReturn
from uuid import UUID

from fastapi import Depends, Request

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import AppError, BadRequest, Conflict, Unauthenticated
from app.core.events import emit
from app.core.limits import enforce
from app.core.passwords import verify_password
from app.models.auth import User
from app.repositories.auth import (
    OneTimeTokenRepository,
    PeopleRepository,
    SessionRepository,
    ThrottleRepository,
)
from app.schemas.auth import SteppedUp, StepUp, StepUpCodeSent
from app.services.auth import events
from app.services.auth.mail_limit import MailLimits
from app.services.auth.one_time_tokens import STEP_UP, issue_for_person, judge_code
from app.services.auth.recipients import seen
from app.services.auth.refusals import invalid_credentials, session_revoked
from app.services.auth.second_factor import check_factor, has_active_factor, with_second_factor
from app.services.auth.second_factor.events import StepUpRequested
from app.services.auth.throttle import (
    counter_of,
    one_at_a_time,
    record_failure,
    refuse_if_locked,
    throttle_key,
)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who is asked, and what they can be asked for."""

    user: User
    password_hash: str | None
    has_factor: bool


class StepUpService:
    """Checks again who is there."""

    def __init__(
        self,
        request: Request,
        session: Unscoped,
        database: DatabaseOf,
        principal: CurrentPrincipal,
        device: CallingDevice,
        mails: MailLimits,
    ) -> None:
        self.request = request
        self.session = session
        self.database = database
        self.principal = principal
        self.device = device
        self.mails = mails
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        assert principal.session_id is not None  # noqa: S101 - as above
        self.user_id: UUID = principal.user_id
        self.session_id: UUID = principal.session_id

    async def confirm(self, body: StepUp) -> SteppedUp:
        """Note that the person proved again who they are; failures count with those of sign-in.

        401 `invalid_credentials` or `mfa_code_invalid`; 409 `second_factor_required` for anything but a
        second factor where there is one, 409 `password_required` for a mailed code where a password is asked;
        429 while locked. A second factor raises the session to aal 2.
        """
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        await enforce(self.request, "step_up", key=self.principal.limit_key, is_sign_in=True)
        now = clock.now()
        caller = await self._caller()
        if caller.has_factor and body.code is None and body.backup_code is None:
            raise second_factor_required()
        if body.email_code is not None:
            self._refuse_mail(caller)
        canonical = caller.user.email_canonical
        async with one_at_a_time(throttle_key(canonical)):
            async with self.database.system(autocommit=True) as session:
                key, counter = await counter_of(session, canonical, self.user_id, self.device, now)
            refuse_if_locked(counter, now)
            method = await self._prove(body, caller, key, now)
        aal = await self._note(now, has_second_factor=method in ("totp", "backup_code"))
        await ThrottleRepository(self.session).clear(key)
        await emit(
            self.session,
            events.SteppedUp(user_id=self.user_id, session_id=self.session_id, method=method),
        )
        return SteppedUp(step_up_at=now, valid_for=get_settings().step_up_seconds, aal=aal)

    async def send_code(self) -> StepUpCodeSent:
        """Mail a code to a person who has neither a second factor nor a password to give.

        409 `second_factor_required`, 409 `password_required`. Beyond the limit of mails nothing is sent.
        """
        await self.session.rollback()  # One connection at a time: the person is looked up through another.
        now = clock.now()
        caller = await self._caller()
        if caller.has_factor:
            raise second_factor_required()
        self._refuse_mail(caller)
        if await self.mails.allows(caller.user.email_canonical):
            user = await PeopleRepository(self.session).get(self.user_id, lock=True)
            if user is None:
                raise session_revoked()
            token_id = await issue_for_person(self.session, STEP_UP, user, now)
            private = {**seen(self.device, now), "token_id": token_id}
            await emit(self.session, StepUpRequested(user_id=self.user_id), private=private)
        return StepUpCodeSent()

    async def _caller(self) -> _Caller:
        async with self.database.system(autocommit=True) as session:
            found = await PeopleRepository(session).credentials_of(self.user_id)
            if found is None:
                raise session_revoked()
            return _Caller(found.user, found.password_hash, await has_active_factor(session, self.user_id))

    def _refuse_mail(self, caller: _Caller) -> None:
        """409 unless the person has no password, or came by single sign-on and may not know it."""
        if caller.password_hash is not None and self.principal.auth_method != "sso":
            raise Conflict("password_required", "This account has a password; confirm with it.")

    async def _prove(self, body: StepUp, caller: _Caller, key: bytes, now: datetime) -> str:
        """The method that proved it; what is wrong is counted before the refusal is raised."""
        if body.password is not None:
            verified = await verify_password(body.password, caller.password_hash)
            if not verified.ok:
                await self._refuse(key, now, invalid_credentials())
            return "password"
        if body.email_code is not None:
            await self._use_mailed_code(body.email_code, caller, key, now)
            return "email_code"
        try:
            checked = await check_factor(
                self.session,
                self.database,
                self.user_id,
                code=body.code,
                backup_code=body.backup_code,
                now=now,
                device=self.device,
            )
        except Unauthenticated as refusal:
            await self._refuse(key, now, refusal)
        return checked.method

    async def _use_mailed_code(self, code: str, caller: _Caller, key: bytes, now: datetime) -> None:
        canonical = caller.user.email_canonical
        try:
            identifier = await judge_code(self.session, self.database, STEP_UP, canonical, code, now)
        except BadRequest:
            await self._refuse(key, now, mailed_code_invalid())
        # The person is locked before the token, as where tokens are made.
        await PeopleRepository(self.session).get(self.user_id, lock=True)
        if await OneTimeTokenRepository(self.session).consume(identifier, STEP_UP, now) is None:
            await self._refuse(key, now, mailed_code_invalid())

    async def _refuse(self, key: bytes, now: datetime, refusal: AppError) -> NoReturn:
        await record_failure(
            self.session,
            self.database,
            key,
            self.device,
            now,
            user_id=self.user_id,
            reason="step_up_failed",
        )
        raise refusal

    async def _note(self, now: datetime, *, has_second_factor: bool) -> int:
        """Write the check into the session's row; answers its level from now on."""
        row = await SessionRepository(self.session).get(self.session_id, lock=True)
        if row is None or row.revoked_at is not None:
            raise session_revoked()
        row.step_up_at = now
        if has_second_factor:
            row.aal, row.amr = 2, list(with_second_factor(tuple(row.amr)))
        await self.session.flush()
        return row.aal


def second_factor_required() -> Conflict:
    """409 for a person who has a second factor and came with something else."""
    return Conflict("second_factor_required", "This account has a second factor; confirm with a code.")


def mailed_code_invalid() -> Unauthenticated:
    """401 for a mailed code that is wrong, used or too old."""
    return Unauthenticated("invalid_credentials", "This code is not valid; ask for a new one.")


StepUps = Annotated[StepUpService, Depends()]
