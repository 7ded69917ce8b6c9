"""Owns which mails follow from the events of the second factor."""

from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.repositories.auth import OneTimeTokenRepository
from app.services.auth.one_time_tokens import STEP_UP, is_live
from app.services.auth.recipients import Recipient, device_facts, mail_to, recipient_of
from app.services.auth.second_factor.backup_codes import FEW
from app.services.auth.second_factor.events import BackupCodeUsed, StepUpRequested
from app.services.notifications.requests import MailLink, MailRequest, mails_for


@mails_for(BackupCodeUsed, StepUpRequested)
async def factor_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """The mails that follow from an event of this module."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    if event_type == StepUpRequested.type:
        return await _step_up_code(session, recipient, private)
    remaining = data["remaining"]
    facts = {
        **device_facts(recipient, private),
        "remaining": str(remaining),
        "is_low": "yes" if remaining <= FEW else "",
    }
    return [mail_to(recipient, "backup_code_used", "security", facts)]


async def _step_up_code(
    session: SystemSession, recipient: Recipient, private: dict[str, Any]
) -> list[MailRequest]:
    token = await OneTimeTokenRepository(session).of_purpose(UUID(private["token_id"]), STEP_UP)
    if token is None or not is_live(token, clock.now()):
        return []
    link = MailLink(purpose=STEP_UP, token_id=token.id, path="/step-up")
    facts = device_facts(recipient, private)
    return [mail_to(recipient, "step_up_code", "security", facts, link=link, expires_at=token.expires_at)]
