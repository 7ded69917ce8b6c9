"""Authentication in the background: what must not be done before an answer, because its time would tell."""

from app.core.database import SystemSession
from app.jobs.handlers import EventRow, handler
from app.services.auth.resending import resend_confirmation


@handler("confirmation")
async def send_confirmation_again(session: SystemSession, event: EventRow) -> None:
    """Request a new confirmation, if the address is within its limit of mails."""
    private = event.private
    if private["is_allowed"]:
        await resend_confirmation(session, private["canonical"])
