"""Owns the mail to a person whose account was suspended."""

from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.services.auth.recipients import mail_to, recipient_of
from app.services.auth.staff.events import UserSuspended
from app.services.notifications.requests import MailRequest, mails_for


@mails_for(UserSuspended)
async def suspension_mail(
    session: SystemSession, _event_type: str, data: dict[str, Any], _private: dict[str, Any]
) -> list[MailRequest]:
    """Tell the person, unless the account is open again by now."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None or recipient.user.status != "suspended":
        return []
    return [mail_to(recipient, "account_suspended", "security", {"reason": data["reason"]})]
