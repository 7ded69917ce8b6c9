"""Owns the confirmation of addresses, by link and by code."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Forbidden, Gone
from app.core.events import emit
from app.core.mail_addresses import parse_address
from app.models.auth import OneTimeToken, User
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository
from app.schemas.auth import Confirm, Confirmed, SignInAnswer
from app.services.auth.events import EmailConfirmed
from app.services.auth.one_time_tokens import (
    EMAIL_CONFIRM,
    judge_code,
    token_id,
    verifier_fits,
    why_dead,
)
from app.services.auth.opening import FirstFactor, open_session
from app.services.auth.refusals import token_invalid


def confirmation_page(token: str | None) -> str:
    """Where the mail's link leads: to the app, with the token where no server sees it; 400 if forged."""
    if token is None:
        raise token_invalid()
    token_id(EMAIL_CONFIRM, token)
    return f"{get_settings().app_url}/confirm#token={token}"


class ConfirmationService:
    """Confirms addresses."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def confirm(self, body: Confirm) -> Confirmed:
        """Use the token up and confirm its address; the verifier of the sign-up opens a session, too.

        400 `token_invalid`, 410 `token_used` or `token_expired`; by code 400 for every failure.
        """
        now = clock.now()
        if body.token is not None:
            return await self._use(token_id(EMAIL_CONFIRM, body.token), body.code_verifier, now)
        canonical = parse_address(body.email or "").canonical
        identifier = await judge_code(
            self.session, self.database, EMAIL_CONFIRM, canonical, body.code or "", now
        )
        try:
            return await self._use(identifier, None, now)
        except Gone:
            raise token_invalid() from None

    async def _use(self, identifier: UUID, code_verifier: str | None, now: datetime) -> Confirmed:
        tokens = OneTimeTokenRepository(self.session)
        token = await tokens.of_purpose(identifier, EMAIL_CONFIRM)
        if token is None or token.user_id is None:
            raise token_invalid()
        # The person is locked before the token, as in a repeated sign-up; two orders could deadlock.
        user = await PeopleRepository(self.session).get(token.user_id, lock=True)
        used = await tokens.consume(identifier, EMAIL_CONFIRM, now)
        if user is None or used is None:
            raise await why_dead(self.session, EMAIL_CONFIRM, identifier, now)
        if user.email_confirmed_at is None:
            user.email_confirmed_at = now
            await emit(self.session, EmailConfirmed(user_id=user.id))
        return Confirmed(session=await self._open(user, used, code_verifier, now))

    async def _open(
        self, user: User, token: OneTimeToken, code_verifier: str | None, now: datetime
    ) -> SignInAnswer | None:
        """A session for the browser that signed up; nobody else has the verifier.

        The address is confirmed, whatever else keeps the person out.
        """
        if code_verifier is None or not verifier_fits(code_verifier, token.code_challenge):
            return None
        if user.status != "active":
            return None
        factor = FirstFactor(user_id=user.id, method="magic_link", amr=("otp",))
        try:
            return await open_session(self.session, factor, self.device, now)
        except Forbidden:
            return None


Confirmations = Annotated[ConfirmationService, Depends()]
