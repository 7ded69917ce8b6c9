"""Owns sign-up by invitation, whose token proves the mailbox: the account is confirmed, joined, signed in."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.access import Principal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Conflict, PaymentRequired
from app.core.mail_addresses import MailAddress, parse_address
from app.core.passwords import hash_password
from app.models.auth import User
from app.repositories.auth import PeopleRepository
from app.schemas.auth import SignInAnswer, SignUp
from app.services.auth.accounts import confirm_address
from app.services.auth.first_factor import FirstFactor
from app.services.auth.founding import found_account
from app.services.auth.opening import open_session
from app.services.auth.password_rules import refuse_weak_password
from app.services.auth.refusals import signup_closed
from app.services.privacy.consents import record_signup, refuse_unknown_versions
from app.services.team.invitations.joining import (
    Held,
    granted,
    hold,
    invited_address,
    join,
    locate,
    refuse_other_address,
)
from app.services.team.invitations.limits import remember_limit


class InvitedSignUpService:
    """Makes accounts for invited people, who hold the token of their mail."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def sign_up(self, body: SignUp, token: str) -> SignInAnswer:
        """Make the account of the invited address, join it and sign it in.

        400 `token_invalid`; 402 `plan_limit_reached`; 403 `signup_closed`, `invitation_email_mismatch`; 409
        `account_exists` for who has an account and shall accept with it; 410 `token_used`, `token_expired`,
        `invitation_revoked`; 422 `password_rejected`, `policy_version_unknown`. A refusal leaves account and
        invitation as they were.
        """
        if get_settings().signups == "closed":
            raise signup_closed()
        await self.session.rollback()  # Nothing is hashed in a transaction; a claimed one begins anew.
        address = parse_address(body.email)
        await self._refuse_early(body, token, address)
        await refuse_weak_password(body.password, email=address.address, full_name=body.full_name)
        hashed = await hash_password(body.password)
        return await self._write(body, token, address, hashed, clock.now())

    async def _refuse_early(self, body: SignUp, token: str, address: MailAddress) -> None:
        """What can be refused before a password is hashed; everything is judged again under the lock."""
        async with self.database.system(autocommit=True) as session:
            reference = await locate(session, token, clock.now())
            refuse_other_address(await invited_address(session, reference), address.canonical)
            user = await PeopleRepository(session).by_address(address.canonical)
            if user is not None:
                _refuse_account(user)
            await refuse_unknown_versions(session, body.consents)

    async def _write(
        self, body: SignUp, token: str, address: MailAddress, hashed: str, now: datetime
    ) -> SignInAnswer:
        held = await hold(self.session, await locate(self.session, token, now), now)
        refuse_other_address(held.invitation.email_canonical, address.canonical)
        offer = await granted(self.session, held)
        user = await self._account(body, address, hashed, now)
        try:
            await join(self.session, held, offer, user, now)
        except PaymentRequired as refusal:
            await remember_limit(self.session, self.database, held.organization.id, refusal)
            raise
        return await self._open(held, user, now)

    async def _account(self, body: SignUp, address: MailAddress, hashed: str, now: datetime) -> User:
        """The account of the address, confirmed, with nothing of an earlier sign-up that was not."""
        # The personal organisation is called after the company; the profile is written below as it was sent.
        user = await found_account(
            self.session,
            address,
            now,
            method="invitation",
            full_name=body.company or body.full_name,
            locale=body.locale,
        )
        _refuse_account(user)
        self.session.info["principal"] = Principal(kind="user", user_id=user.id)
        await confirm_address(self.session, user, now, keep_password=False)
        people = PeopleRepository(self.session)
        await people.set_profile(
            user.id, full_name=body.full_name, company=body.company, locale=body.locale, now=now
        )
        await people.set_password(user.id, hashed, now)
        await record_signup(self.session, user.id, body.consents, body.locale, now)
        return user

    async def _open(self, held: Held, user: User, now: datetime) -> SignInAnswer:
        """A session that begins in the organisation, or at home where that demands more of a session."""
        user.last_organization_id = held.organization.id
        await self.session.flush()
        factor = FirstFactor(user_id=user.id, method="invitation", amr=("otp",))
        return await open_session(self.session, factor, self.device, now)


def _refuse_account(user: User) -> None:
    if user.email_confirmed_at is not None or user.status != "active":
        raise Conflict("account_exists", "You have an account already; sign in and accept the invitation.")


InvitedSignUps = Annotated[InvitedSignUpService, Depends()]
