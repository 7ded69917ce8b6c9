"""Owns the change of a password by its signed-in person, and the first password of an account without one."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.errors import Conflict, FieldError, Forbidden, Invalid
from app.core.events import Event, emit
from app.core.passwords import hash_password, normalise, verify_password
from app.repositories.auth import Credentials, PeopleRepository, ThrottleRepository
from app.schemas.auth import ChangePassword, PasswordChanged, SetPassword
from app.services.auth.accounts import end_sessions, give_up_intruders_change, locked_person, void_tokens
from app.services.auth.one_time_tokens import MAGIC_LINK, PASSWORD_RESET, STEP_UP
from app.services.auth.opening import replace_session
from app.services.auth.own_caller import OwnCaller
from app.services.auth.own_sign_in import require_own_sign_in
from app.services.auth.password_rules import refuse_weak_password
from app.services.auth.recipients import seen
from app.services.auth.refusals import session_revoked
from app.services.auth.throttle import (
    counter_of,
    one_at_a_time,
    record_failure,
    refuse_if_locked,
    throttle_key,
)
from app.services.settings import events

FIELD = "/new_password"


class PasswordService:
    """Changes the caller's password. Verifying and hashing are done before anything is locked."""

    def __init__(self, caller: OwnCaller) -> None:
        self.caller = caller
        self.session = caller.session

    async def change(self, body: ChangePassword) -> PasswordChanged:
        """Put another password in the place of the present one.

        403 `current_password_invalid`, which counts as a failed sign-in; 409 `password_not_set` and
        `password_changed_meanwhile`; 422 `password_rejected`, `password_unchanged`; 429 while locked.
        """
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        now = clock.now()
        found = await self._look(body.new_password)
        if found.password_hash is None:
            raise Conflict(
                "password_not_set",
                "This account has no password yet; set one with POST /api/settings/password/set.",
            )
        key = await self._verify(body.current_password, found, now)
        if normalise(body.new_password) == normalise(body.current_password):
            detail = "This is the present password; choose another one."
            raise Invalid(
                "password_unchanged", detail, errors=[FieldError(FIELD, "password_unchanged", detail)]
            )
        changed = await self._write(await hash_password(body.new_password), found.password_changed_at, now)
        # Behind the lock of the person, as at a sign-in; two orders could deadlock.
        await ThrottleRepository(self.session).clear(key)
        return changed

    async def set(self, body: SetPassword) -> PasswordChanged:
        """Give an account without a password its first one; 409 `password_already_set` for another."""
        await self.session.rollback()  # As above.
        now = clock.now()
        found = await self._look(body.new_password)
        if found.password_hash is not None:
            raise password_already_set()
        return await self._write(await hash_password(body.new_password), None, now)

    async def _look(self, new_password: str) -> Credentials:
        """The caller and their password; refuses whom an organisation signs in, and a weak new password."""
        async with self.caller.database.system(autocommit=True) as session:
            people = PeopleRepository(session)
            found = await people.credentials_of(self.caller.user_id)
            profile = await people.profile(self.caller.user_id)
        if found is None:
            raise session_revoked()
        require_own_sign_in(self.caller.principal, found.user)
        full_name = profile.full_name if profile else None
        await refuse_weak_password(new_password, email=found.user.email, full_name=full_name, pointer=FIELD)
        return found

    async def _verify(self, password: str, found: Credentials, now: datetime) -> bytes:
        """The key of the failures that a right password ends."""
        canonical = found.user.email_canonical
        async with one_at_a_time(throttle_key(canonical)):
            async with self.caller.database.system(autocommit=True) as session:
                key, counter = await counter_of(
                    session, canonical, self.caller.user_id, self.caller.device, now
                )
            refuse_if_locked(counter, now)
            if (await verify_password(password, found.password_hash)).ok:
                return key
            await record_failure(
                self.session,
                self.caller.database,
                key,
                self.caller.device,
                now,
                user_id=self.caller.user_id,
                reason="current_password_invalid",
            )
            raise Forbidden("current_password_invalid", "The current password is wrong.")

    async def _write(self, hashed: str, known: datetime | None, now: datetime) -> PasswordChanged:
        """Set the password unless it is no longer the one that was looked at (`known`: when that was set)."""
        user = await locked_person(self.session, self.caller.user_id)
        if user is None or user.status != "active":
            raise session_revoked()
        people = PeopleRepository(self.session)
        if await people.password_changed_at(user.id) != known:
            raise password_already_set() if known is None else _changed_meanwhile()
        await people.set_password(user.id, hashed, now)
        principal = self.caller.principal
        revoked = await end_sessions(
            self.session, user.id, reason="password_changed", now=now, all_but=principal.session_id
        )
        await give_up_intruders_change(self.session, user)
        await void_tokens(self.session, user.id, now, only=(PASSWORD_RESET, MAGIC_LINK, STEP_UP))
        opened = await replace_session(self.session, principal, self.caller.device, now)
        kind: type[events.PasswordChanged | events.PasswordSet] = (
            events.PasswordSet if known is None else events.PasswordChanged
        )
        happened: Event = kind(user_id=user.id, sessions_revoked=revoked)
        await emit(self.session, happened, private=seen(self.caller.device, now))
        return PasswordChanged(sessions_revoked=revoked, session=opened)


def password_already_set() -> Conflict:
    """409 for an account whose password can only be changed."""
    return Conflict(
        "password_already_set",
        "This account has a password; change it with POST /api/settings/password.",
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "password_changed_meanwhile",
        "The password was changed by another request at the same moment; sign in with the one that counts.",
    )


Passwords = Annotated[PasswordService, Depends()]
