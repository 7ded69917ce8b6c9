"""Authentication in the background: what must not be done before an answer, because its time would tell."""

from app.core.database import SystemSession
from app.jobs.handlers import EventRow, handler
from app.services.auth.magic_links import request_magic_link
from app.services.auth.resending import resend_confirmation
from app.services.auth.resetting import request_reset


@handler("confirmation")
async def send_confirmation_again(session: SystemSession, event: EventRow) -> None:
    """Request a new confirmation, if the address is within its limit of mails."""
    private = event.private
    if private["is_allowed"]:
        await resend_confirmation(session, private["canonical"])


@handler("password_reset")
async def send_reset(session: SystemSession, event: EventRow) -> None:
    """Make and mail the token of a reset, if the address is within its limit of mails."""
    if event.private["is_allowed"]:
        await request_reset(session, event.private)


@handler("magic_link")
async def send_magic_link(session: SystemSession, event: EventRow) -> None:
    """Make and mail a link to sign in with, if the address is within its limit of mails."""
    if event.private["is_allowed"]:
        await request_magic_link(session, event.private)
