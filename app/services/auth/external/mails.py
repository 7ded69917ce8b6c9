"""Owns which mails follow from the events of identities."""

from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.services.auth.external.events import IdentityLinked, IdentityUnlinked
from app.services.auth.external.providers import TITLES
from app.services.auth.recipients import device_facts, mail_to, recipient_of
from app.services.notifications.requests import MailRequest, mails_for


@mails_for(IdentityLinked, IdentityUnlinked)
async def identity_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """Tell the person; not whoever has just made the account with the provider, for they know."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None or not private["is_mailed"]:
        return []
    facts = device_facts(recipient, private)
    facts["provider"] = TITLES.get(data["provider"], data["provider"])
    template = "identity_linked" if event_type == IdentityLinked.type else "identity_unlinked"
    return [mail_to(recipient, template, "security", facts)]
