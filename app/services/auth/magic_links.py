"""Owns the sign-in by mail: the same work for every address, and a link for the browser that asked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.callers import caller_facts
from app.core.config import get_settings
from app.core.database import DatabaseOf, SystemSession, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Forbidden, Gone, Unauthenticated
from app.core.events import CALLER, emit
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.models.auth import OneTimeToken, User
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository
from app.schemas.auth import MagicLink, MagicLinkSent, MagicLinkVerify, SignInAnswer
from app.services.auth.accounts import confirm_address
from app.services.auth.events import MagicLinkAsked, MagicLinkRequested, SignInFailed
from app.services.auth.first_factor import FirstFactor
from app.services.auth.founding import found_account
from app.services.auth.mail_limit import MailLimits
from app.services.auth.one_time_tokens import (
    MAGIC_LINK,
    is_live,
    issue,
    issue_for_person,
    judge_code_of,
    token_id,
    verifier_fits,
    void_token,
    why_dead,
)
from app.services.auth.opening import open_session
from app.services.auth.recipients import seen
from app.services.auth.redirects import redirect_target
from app.services.auth.refusals import remembered, signup_closed, token_invalid, verifier_invalid
from app.services.auth.throttle import every_key
from app.services.notifications.mailing import address_hash


class MagicLinkService:
    """Takes the wish to sign in by mail, without looking whether anybody has the address."""

    def __init__(self, session: Unscoped, mails: MailLimits, device: CallingDevice) -> None:
        self.session = session
        self.mails = mails
        self.device = device

    async def ask(self, body: MagicLink) -> MagicLinkSent:
        """Have a link and a code mailed if the address has an account, or may get one.

        422 `redirect_not_allowed`. Neither the answer nor its time tells whether anybody has the address: the
        id of the token is made here, and the token, if there is to be one, when the event is handled.
        """
        redirect_to = redirect_target(body.redirect_to) if body.redirect_to is not None else None
        address = parse_address(body.email)
        is_allowed = await self.mails.allows(address.canonical)
        request_id = uuid7()
        await emit(
            self.session,
            MagicLinkAsked(),
            private={
                "address": address.address,
                "is_allowed": is_allowed,
                "request_id": request_id,
                "code_challenge": body.code_challenge,
                "redirect_to": redirect_to,
                "remember": body.remember,
                "create_user": body.create_user,
                "seen": {**seen(self.device, clock.now()), CALLER: caller_facts()},
            },
        )
        return MagicLinkSent(request_id=request_id)


async def request_magic_link(session: SystemSession, wish: Mapping[str, Any]) -> None:
    """Make the token of a magic link and have it mailed; nothing for an address that may not come in.

    An address without an account gets one only where that was asked for and sign-ups are open, and only when
    the link is used.
    """
    now = clock.now()
    address = parse_address(wish["address"])
    user = await PeopleRepository(session).by_address(address.canonical, lock=True)
    values = {
        "id": UUID(wish["request_id"]),
        "code_challenge": wish["code_challenge"],
        "redirect_to": wish["redirect_to"],
        "payload": {"remember": wish["remember"]},
    }
    if user is None:
        if not wish["create_user"] or get_settings().signups != "open":
            return
        owner_key = address_hash(address.address).hex()
        made = await issue(session, MAGIC_LINK, owner_key, now, email=address.address, **values)
    elif user.status == "active":
        made = await issue_for_person(session, MAGIC_LINK, user, now, **values)
    else:
        return
    requested = MagicLinkRequested(user_id=user.id if user else None)
    await emit(session, requested, private={**wish["seen"], "token_id": made})


class MagicSignInService:
    """Signs people in by mail."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def verify(self, body: MagicLinkVerify) -> SignInAnswer:
        """Use a link up, by its token or by the code beside it, and open a session.

        400 `token_invalid`, 410 `token_used` or `token_expired`, 401 `verifier_invalid`, which ends the link;
        by code 400 for all of them. 403 for an account that may not be entered.
        """
        now = clock.now()
        if body.token is not None:
            return await self._use(token_id(MAGIC_LINK, body.token), body.code_verifier, now)
        assert body.request_id is not None  # noqa: S101 - the schema takes one of two forms
        try:
            await judge_code_of(
                self.session, self.database, MAGIC_LINK, body.request_id, body.code or "", now
            )
            return await self._use(body.request_id, body.code_verifier, now)
        except (Gone, Unauthenticated):
            raise token_invalid() from None

    async def _use(self, identifier: UUID, code_verifier: str, now: datetime) -> SignInAnswer:
        tokens = OneTimeTokenRepository(self.session)
        token = await tokens.of_purpose(identifier, MAGIC_LINK)
        if token is None:
            raise token_invalid()
        if not is_live(token, now):
            raise await why_dead(self.session, MAGIC_LINK, identifier, now)
        if not verifier_fits(code_verifier, token.code_challenge):
            # Another browser than the one that asked holds the link: it may have been stolen.
            await void_token(self.session, self.database, identifier, now)
            raise verifier_invalid()
        is_remembered = token.payload.get("remember") is True
        # The person is locked before the token, as everywhere; two orders could deadlock.
        user = await self._person(token, now)
        if user is None or await tokens.consume(identifier, MAGIC_LINK, now) is None:
            raise await why_dead(self.session, MAGIC_LINK, identifier, now)
        return await self._open(user, identifier, now, is_remembered=is_remembered)

    async def _person(self, token: OneTimeToken, now: datetime) -> User | None:
        """The locked account that the link is for; it is made now where nobody has the address."""
        people = PeopleRepository(self.session)
        if token.user_id is not None:
            return await people.get(token.user_id, lock=True)
        address = parse_address(token.email or "")
        if get_settings().signups != "open" and await people.by_address(address.canonical) is None:
            raise signup_closed()
        return await found_account(self.session, address, now, method="magic_link")

    async def _open(
        self, user: User, identifier: UUID, now: datetime, *, is_remembered: bool
    ) -> SignInAnswer:
        user_id = user.id
        if user.status == "active":
            await confirm_address(self.session, user, now, keep_password=False)
        factor = FirstFactor(
            user_id=user_id,
            method="magic_link",
            amr=("otp",),
            is_remembered=is_remembered,
            throttle_keys=await every_key(self.session, user.email_canonical, user_id, now),
        )
        try:
            return await open_session(self.session, factor, self.device, now)
        except Forbidden as refusal:
            async with remembered(self.session, self.database) as own:
                await OneTimeTokenRepository(own).consume(identifier, MAGIC_LINK, now)
                await emit(own, SignInFailed(user_id=user_id, reason=refusal.code))
            raise


MagicLinks = Annotated[MagicLinkService, Depends()]
MagicSignIns = Annotated[MagicSignInService, Depends()]
