"""Owns the sign-in by password: the same work for every address, the throttle, and the session at its end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Forbidden
from app.core.mail_addresses import parse_address
from app.core.passwords import verify_password
from app.models.auth import SignInThrottle
from app.repositories.auth import Credentials, PeopleRepository
from app.schemas.auth import SignIn, SignInAnswer
from app.services.auth.opening import FirstFactor, open_session
from app.services.auth.refusals import invalid_credentials, unusable
from app.services.auth.throttle import (
    counter_of,
    one_at_a_time,
    record_failure,
    record_refusal,
    refuse_if_locked,
    throttle_key,
)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a try is judged by, read by the same statements whether or not the address has an account."""

    found: Credentials | None
    key: bytes
    counter: SignInThrottle | None


class SignInService:
    """Signs people in by password."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def sign_in(self, body: SignIn) -> SignInAnswer:
        """Open a session for a right password.

        401 `invalid_credentials`, 429 `too_many_attempts` while the address is locked, 403 for an account
        that may not be entered, which is told only after the right password.
        """
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        now = clock.now()
        canonical = parse_address(body.email).canonical
        async with one_at_a_time(throttle_key(canonical)):
            attempt = await self._look(canonical, now)
            refuse_if_locked(attempt.counter, now)
            found = attempt.found
            verified = await verify_password(body.password, found.password_hash if found else None)
            if found is None or not verified.ok:
                await record_failure(
                    self.session,
                    self.database,
                    attempt.key,
                    self.device,
                    now,
                    user_id=found.user.id if found else None,
                    reason="invalid_credentials",
                )
                raise invalid_credentials()
            refusal = unusable(found.user)
            if refusal is None:
                try:
                    return await self._open(body, attempt.key, found, verified.new_hash, now)
                except Forbidden as error:
                    refusal = error
            await record_refusal(
                self.session,
                self.database,
                attempt.key,
                user_id=found.user.id,
                reason=refusal.code,
            )
            raise refusal

    async def _look(self, canonical: str, now: datetime) -> _Attempt:
        async with self.database.system(autocommit=True) as session:
            found = await PeopleRepository(session).credentials_by_address(canonical)
            user_id = found.user.id if found else None
            key, counter = await counter_of(session, canonical, user_id, self.device, now)
            return _Attempt(found, key, counter)

    async def _open(
        self, body: SignIn, key: bytes, found: Credentials, new_hash: str | None, now: datetime
    ) -> SignInAnswer:
        if new_hash is not None and found.password_hash is not None:
            await PeopleRepository(self.session).replace_hash(found.user.id, found.password_hash, new_hash)
        factor = FirstFactor(
            user_id=found.user.id,
            method="password",
            amr=("pwd",),
            password_changed_at=found.password_changed_at,
            is_remembered=body.remember,
            throttle_keys=(key,),
        )
        return await open_session(self.session, factor, self.device, now)


SignIns = Annotated[SignInService, Depends()]
