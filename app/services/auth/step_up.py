"""Owns the second check of a signed-in person (RFC 9470)."""

from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Conflict
from app.core.events import emit
from app.core.passwords import verify_password
from app.repositories.auth import PeopleRepository, SessionRepository, ThrottleRepository
from app.schemas.auth import SteppedUp, StepUp
from app.services.auth import events
from app.services.auth.refusals import invalid_credentials, session_revoked
from app.services.auth.throttle import (
    counter_of,
    one_at_a_time,
    record_failure,
    refuse_if_locked,
    throttle_key,
)


class StepUpService:
    """Checks again who is there."""

    def __init__(
        self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal, device: CallingDevice
    ) -> None:
        self.session = session
        self.database = database
        self.principal = principal
        self.device = device

    async def by_password(self, body: StepUp) -> SteppedUp:
        """Note that the password was given again; failures count with those of sign-in.

        401 `invalid_credentials`, 409 `second_factor_required` for an account that has one, 429 while locked.
        """
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        now = clock.now()
        user_id, session_id = self.principal.user_id, self.principal.session_id
        assert user_id is not None  # noqa: S101 - the route is for signed-in people
        assert session_id is not None  # noqa: S101 - as above
        async with self.database.system(autocommit=True) as session:
            found = await PeopleRepository(session).credentials_of(user_id)
        if found is None:
            raise session_revoked()
        if found.user.mfa_enabled_at is not None:
            raise Conflict("second_factor_required", "This account has a second factor; confirm with a code.")
        canonical = found.user.email_canonical
        async with one_at_a_time(throttle_key(canonical)):
            async with self.database.system(autocommit=True) as session:
                key, counter = await counter_of(session, canonical, user_id, self.device, now)
            refuse_if_locked(counter, now)
            verified = await verify_password(body.password, found.password_hash)
            if not verified.ok:
                await record_failure(
                    self.session,
                    self.database,
                    key,
                    self.device,
                    now,
                    user_id=user_id,
                    reason="step_up_failed",
                )
                raise invalid_credentials()
        await ThrottleRepository(self.session).clear(key)
        await SessionRepository(self.session).step_up(session_id, now)
        await emit(self.session, events.SteppedUp(user_id=user_id, session_id=session_id, method="password"))
        return SteppedUp(step_up_at=now, valid_for=get_settings().step_up_seconds, aal=self.principal.aal)


StepUps = Annotated[StepUpService, Depends()]
