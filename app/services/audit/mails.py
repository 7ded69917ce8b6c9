"""Owns which mails follow from the events of the audit log."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.audit import SYSTEM_CHAIN
from app.repositories.audit import PeopleOfEventsRepository
from app.services.audit.events import AuditExported, AuditVerified
from app.services.auth.recipients import mail_to, moment, recipient_of, recipients_of
from app.services.notifications.requests import MailRequest, mails_for

PLATFORM = {"fr": "la plateforme", "en": "the platform"}
"""How the chain of what belongs to no organisation is called."""


@mails_for(AuditVerified, AuditExported)
async def audit_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """A broken chain is told to the owner and the platform's staff, a finished file to whoever asked."""
    if event_type == AuditExported.type:
        return await _export_ready(session, data, private)
    return [] if data["ok"] else await _chain_broken(session, data)


async def _chain_broken(session: SystemSession, data: Mapping[str, Any]) -> list[MailRequest]:
    organization_id = UUID(data["organization_id"])
    people = PeopleOfEventsRepository(session)
    owner_id, name = await people.owner_of(organization_id)
    told = {UUID(member) for member in get_settings().platform_staff_ids}
    if owner_id is not None:
        told.add(owner_id)
    mails = []
    for recipient in await recipients_of(session, sorted(told)):
        chain = PLATFORM[recipient.locale] if organization_id == SYSTEM_CHAIN else name
        facts = {
            "organization": chain or str(organization_id),
            "entry": str(data["first_bad_seq"]),
            "time": moment(clock.now()),
            "audit_url": _page(),
        }
        mails.append(mail_to(recipient, "audit_chain_broken", "security", facts))
    return mails


async def _export_ready(
    session: SystemSession, data: Mapping[str, Any], private: Mapping[str, Any]
) -> list[MailRequest]:
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    facts = {"rows": str(data["row_count"]), "until": private["until"], "audit_url": _page()}
    return [mail_to(recipient, "audit_export_ready", "account", facts)]


def _page() -> str:
    """The page of the application that shows the log."""
    return f"{get_settings().app_url}/settings/audit"
