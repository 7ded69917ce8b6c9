"""Owns the mail by which somebody tries a text out."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.services.auth.recipients import recipient_of
from app.services.notifications.events import EmailTestRequested
from app.services.notifications.requests import MailRequest, mails_for

USEFUL_FOR = timedelta(hours=1)

MARK = {"fr": "[Essai]", "en": "[Test]"}
"""What the subject of a trial begins with, so that nobody takes it for a real order."""


@mails_for(EmailTestRequested)
async def trial_mail(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The rendered mail to whoever asked for it."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    request = MailRequest(
        template=data["template"],
        to=recipient.user.email,
        locale=private["locale"],
        category="account",
        expires_at=clock.now() + USEFUL_FOR,
        user_id=recipient.user.id,
        texts={
            "subject": f"{MARK[private['locale']]} {private['subject']}",
            "html": private["html"],
            "text": private["text"],
        },
    )
    return [request]
