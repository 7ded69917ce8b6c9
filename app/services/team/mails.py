"""Owns the mails about memberships, and about what becomes of an organisation."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.repositories.team import OrganizationRepository, TeamRepository
from app.services.auth.recipients import Recipient, mail_to, moment, recipient_of, recipients_of
from app.services.notifications.requests import MailRequest, mails_for
from app.services.team.events.members import (
    MemberRemoved,
    MemberRoleChanged,
    MemberSuspended,
    SessionsEnded,
)
from app.services.team.events.organizations import OrganizationDeleted, OrganizationSecurityUpdated
from app.services.team.invitations.mails import line, role_in, team_url

ADMINISTRATORS = ("owner", "admin")

OF_MEMBERS = {
    MemberRemoved.type: "member_removed",
    MemberRoleChanged.type: "role_changed",
    MemberSuspended.type: "membership_suspended",
    SessionsEnded.type: "sessions_ended",
}

DEMANDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "require_mfa": "second facteur exigé",
        "session_max_seconds": "durée d'une session, en secondes",
        "session_idle_seconds": "inactivité d'une session, en secondes",
        "True": "oui",
        "False": "non",
        "None": "sans limite",
        "colon": " : ",
    },
    "en": {
        "require_mfa": "second factor required",
        "session_max_seconds": "length of a session, in seconds",
        "session_idle_seconds": "idle time of a session, in seconds",
        "True": "yes",
        "False": "no",
        "None": "no limit",
        "colon": ": ",
    },
}


@mails_for(MemberRemoved, MemberRoleChanged, MemberSuspended, SessionsEnded)
async def membership_mail(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """The news to the member; none when the organisation is gone."""
    organization_id = UUID(private["organization_id"])
    organization = await OrganizationRepository(session).get(organization_id)
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if organization is None or recipient is None:
        return []
    facts = {"organization": line(organization.name)}
    if event_type == MemberRoleChanged.type:
        facts["role"] = role_in(recipient.locale, data["to"], private.get("role_name"))
    return [mail_to(recipient, OF_MEMBERS[event_type], "security", facts)]


@mails_for(OrganizationDeleted)
async def deleted_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """The news to the owner and the admins; none when it was restored meanwhile."""
    organization = await OrganizationRepository(session).get(UUID(data["organization_id"]))
    if organization is None or organization.purge_after is None:
        return []
    facts = {"organization": line(organization.name), "until": moment(organization.purge_after)}
    recipients = await _administrators(session, organization.id)
    return [mail_to(recipient, "organization_deleted", "security", facts) for recipient in recipients]


@mails_for(OrganizationSecurityUpdated)
async def security_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """What is demanded from now on, to the owner and the admins."""
    organization = await OrganizationRepository(session).live(UUID(data["organization_id"]))
    if organization is None:
        return []
    requests = []
    for recipient in await _administrators(session, organization.id):
        words = DEMANDS[recipient.locale]
        demands = [
            f"{words[name]}{words['colon']}{words.get(str(after), str(after))}"
            for name, (_, after) in data["changes"].items()
        ]
        facts = {
            "organization": line(organization.name),
            "demands": "; ".join(demands),
            "team_url": team_url(),
        }
        requests.append(mail_to(recipient, "security_changed", "security", facts))
    return requests


async def _administrators(session: SystemSession, organization_id: UUID) -> list[Recipient]:
    return await recipients_of(
        session, await TeamRepository(session).people_in(organization_id, ADMINISTRATORS)
    )
