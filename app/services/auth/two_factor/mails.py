"""Owns the mails about a person's own second factor; they cannot be switched off."""

from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.services.auth.recipients import device_facts, mail_to, recipient_of
from app.services.auth.two_factor.events import (
    BackupCodesRegenerated,
    TwoFactorDisabled,
    TwoFactorEnabled,
)
from app.services.notifications.requests import MailRequest, mails_for

TEMPLATES = {
    TwoFactorEnabled.type: "two_factor_enabled",
    TwoFactorDisabled.type: "two_factor_disabled",
    BackupCodesRegenerated.type: "backup_codes_regenerated",
}


@mails_for(TwoFactorEnabled, TwoFactorDisabled, BackupCodesRegenerated)
async def two_factor_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """Tell the person what was changed, from which device."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    return [mail_to(recipient, TEMPLATES[event_type], "security", device_facts(recipient, private))]
