"""Owns sign-up: one answer and one hash whatever the address, and an account only where there was none."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.events import emit
from app.core.ids import uuid7
from app.core.mail_addresses import MailAddress, parse_address
from app.core.passwords import hash_password
from app.models.auth import User
from app.repositories.auth import PeopleRepository
from app.schemas.auth import ConfirmationSent, SignUp
from app.services.auth.events import ConfirmationRequested, SignedUp, SignupRepeated
from app.services.auth.founding import PERSONAL_NAMES, give_home
from app.services.auth.mail_limit import MailLimits
from app.services.auth.one_time_tokens import EMAIL_CONFIRM, issue_for_person
from app.services.auth.password_rules import refuse_weak_password
from app.services.auth.refusals import signup_closed
from app.services.privacy.consents import record_signup, refuse_unknown_versions


class SignUpService:
    """Makes accounts."""

    def __init__(self, session: Unscoped, database: DatabaseOf, mails: MailLimits) -> None:
        self.session = session
        self.database = database
        self.mails = mails

    async def sign_up(self, body: SignUp) -> ConfirmationSent:
        """Make an account that is to be confirmed by mail; the answer never says whether the address had one.

        403 `signup_closed`, 422 `password_rejected`, `policy_version_unknown`. Only the newest sign-up of
        an open address counts.
        """
        if get_settings().signups != "open":
            raise signup_closed()
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        address = parse_address(body.email)
        await refuse_weak_password(body.password, email=address.address, full_name=body.full_name)
        is_known = await self._is_known(address.canonical)
        is_allowed = not is_known or await self.mails.allows(address.canonical)
        is_mailed = is_known and await self.mails.allows_notice(address.canonical)
        await self._refuse_unknown_consents(body)
        hashed = await hash_password(body.password)
        await self._write(body, address, hashed, is_allowed=is_allowed, is_mailed=is_allowed and is_mailed)
        return ConfirmationSent()

    async def _is_known(self, canonical: str) -> bool:
        async with self.database.system(autocommit=True) as session:
            return await PeopleRepository(session).by_address(canonical) is not None

    async def _refuse_unknown_consents(self, body: SignUp) -> None:
        async with self.database.system(autocommit=True) as session:
            await refuse_unknown_versions(session, body.consents)

    async def _write(
        self, body: SignUp, address: MailAddress, hashed: str, *, is_allowed: bool, is_mailed: bool
    ) -> None:
        now = clock.now()
        people = PeopleRepository(self.session)
        is_new = await people.insert(uuid7(), email=address.address, canonical=address.canonical, now=now)
        user = await people.by_address(address.canonical, lock=True)
        assert user is not None  # noqa: S101 - inserted just now, or the row that stood in the way
        is_shut = user.email_confirmed_at is not None or user.status != "active"
        if is_shut or not (is_new or is_allowed):
            await self._rehearse(people, body, hashed, now)
            await emit(self.session, SignupRepeated(user_id=user.id), private={"is_mailed": is_mailed})
            return
        await self._fill(people, user, body, hashed, now)
        if is_new:
            await self._give_home(user, body, now)
            await emit(self.session, SignedUp(user_id=user.id, method="password"))
        else:
            rehearsal = await self.session.begin_nested()
            await self._give_home(user, body, now)
            await rehearsal.rollback()

    async def _rehearse(self, people: PeopleRepository, body: SignUp, hashed: str, now: datetime) -> None:
        """Make an account that nobody asked for and take it back, so that a taken address costs as much time.

        Nothing of the existing account is touched on the way.
        """
        rehearsal = await self.session.begin_nested()
        user_id = uuid7()
        decoy = User(id=user_id, email=f"{user_id}@rehearsal.invalid")
        await people.insert(user_id, email=decoy.email, canonical=decoy.email, now=now)
        await self._fill(people, decoy, body, hashed, now)
        await self._give_home(decoy, body, now)
        await rehearsal.rollback()

    async def _fill(
        self, people: PeopleRepository, user: User, body: SignUp, hashed: str, now: datetime
    ) -> None:
        """What every sign-up of an open address writes anew."""
        await people.set_profile(
            user.id, full_name=body.full_name, company=body.company, locale=body.locale, now=now
        )
        await people.set_password(user.id, hashed, now)
        await record_signup(self.session, user.id, body.consents, body.locale, now)
        await request_confirmation(self.session, user, now, code_challenge=body.code_challenge)

    async def _give_home(self, user: User, body: SignUp, now: datetime) -> None:
        name = body.company or body.full_name or PERSONAL_NAMES[body.locale]
        await give_home(self.session, user, name, now)


async def request_confirmation(
    session: Unscoped, user: User, now: datetime, *, code_challenge: str | None
) -> None:
    """Void the open confirmation of a locked account and have a new one mailed."""
    token_id = await issue_for_person(session, EMAIL_CONFIRM, user, now, code_challenge=code_challenge)
    await emit(session, ConfirmationRequested(user_id=user.id), private={"token_id": token_id})


SignUps = Annotated[SignUpService, Depends()]
