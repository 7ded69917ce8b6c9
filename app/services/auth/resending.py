"""Owns sending a confirmation again: the same work for every address, and later a link for who needs one."""

from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.access import Principal
from app.core.database import SystemSession, Unscoped
from app.core.events import emit
from app.core.mail_addresses import parse_address
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository
from app.services.auth.events import ConfirmationResendRequested
from app.services.auth.mail_limit import MailLimits
from app.services.auth.one_time_tokens import EMAIL_CONFIRM
from app.services.auth.signup import request_confirmation


class ResendingService:
    """Takes the wish for another confirmation, without looking whether anybody has the address."""

    def __init__(self, session: Unscoped, mails: MailLimits) -> None:
        self.session = session
        self.mails = mails

    async def send_again(self, email: str) -> None:
        """Have a new link mailed if the address has an account that is not confirmed yet.

        Neither the answer nor its time tells whether it has: that is looked up when the event is handled.
        """
        canonical = parse_address(email).canonical
        is_allowed = await self.mails.allows(canonical)
        await emit(
            self.session,
            ConfirmationResendRequested(),
            private={"canonical": canonical, "is_allowed": is_allowed},
        )

    async def send_again_to(self, principal: Principal) -> None:
        """The same for a signed-in person's own address."""
        assert principal.user_id is not None  # noqa: S101 - a session is a person's
        user = await PeopleRepository(self.session).get(principal.user_id)
        if user is not None:
            await self.send_again(user.email)


async def resend_confirmation(session: SystemSession, canonical: str) -> None:
    """Request a new confirmation for an account that is not confirmed yet; for nobody else."""
    user = await PeopleRepository(session).by_address(canonical, lock=True)
    if user is None or user.email_confirmed_at is not None or user.status != "active":
        return
    # Whoever signed up keeps the verifier, so the new link still belongs to it.
    challenge = await OneTimeTokenRepository(session).newest_challenge(EMAIL_CONFIRM, str(user.id))
    await request_confirmation(session, user, clock.now(), code_challenge=challenge)


Resending = Annotated[ResendingService, Depends()]
