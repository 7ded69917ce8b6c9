"""Owns the mails of invitations and of seats: to the invited address, to who sent it, to the owner."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.repositories.team import TeamRepository
from app.repositories.team.invitations import InvitationCard, InvitationRepository
from app.services.auth.one_time_tokens import TEAM_INVITATION, is_live
from app.services.auth.recipients import USEFUL_FOR, mail_to, moment, recipient_of
from app.services.billing.entitlements import upgrade_url
from app.services.notifications.requests import MailLink, MailRequest, mails_for
from app.services.team.events.invitations import InvitationDeclined, InvitationResent, MemberInvited
from app.services.team.events.members import MemberJoined
from app.services.team.events.organizations import LimitReached

ACCEPT_PATH = "/invitations/accept"
"""The page of the application that shows an invitation to whoever holds its token."""

TOLD_EVERY = timedelta(days=1)
"""The owner is told so often at most that a limit is reached."""

ROLES = {
    "fr": {
        "owner": "propriétaire",
        "admin": "administrateur",
        "manager": "responsable",
        "designer": "créateur",
        "member": "membre",
        "viewer": "lecteur",
    },
    "en": {
        "owner": "owner",
        "admin": "administrator",
        "manager": "manager",
        "designer": "designer",
        "member": "member",
        "viewer": "viewer",
    },
}

METRICS = {"fr": {"team_members": "places dans l'équipe"}, "en": {"team_members": "seats in the team"}}

UNKNOWN_INVITER = {"fr": "Votre équipe", "en": "Your team"}


@mails_for(MemberInvited, InvitationResent)
async def invitation_mail(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - both are the same mail
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The invitation; none when it was answered, taken back or mailed again meanwhile."""
    invitations = InvitationRepository(session)
    token = await invitations.token(UUID(private["token_id"]))
    card = await invitations.card(UUID(private["organization_id"]), UUID(data["invitation_id"]))
    if token is None or not is_live(token, clock.now()) or card is None:
        return []
    locale = await _locale(invitations, card)
    invitation = card.invitation
    request = MailRequest(
        template="team_invitation",
        to=invitation.email,
        locale=locale,
        category="team",
        expires_at=token.expires_at,
        organization_id=invitation.organization_id,
        variables={
            "inviter": line(card.inviter_name or "") or UNKNOWN_INVITER[locale],
            "organization": line(card.organization.name),
            "role": role_in(locale, invitation.role_key, card.role_name),
            "message": invitation.message or "",
            "until": moment(invitation.expires_at),
        },
        link=MailLink(purpose=TEAM_INVITATION, token_id=token.id, path=ACCEPT_PATH),
    )
    return [request]


@mails_for(InvitationDeclined)
async def declined_mail(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The answer to whoever sent the invitation."""
    card = await InvitationRepository(session).card(
        UUID(private["organization_id"]), UUID(data["invitation_id"])
    )
    if card is None or card.invitation.invited_by is None:
        return []
    recipient = await recipient_of(session, card.invitation.invited_by)
    if recipient is None:
        return []
    facts = {"email": card.invitation.email, "organization": line(card.organization.name)}
    return [mail_to(recipient, "invitation_declined", "team", facts)]


@mails_for(MemberJoined)
async def joined_mail(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The news to whoever sent the invitation; nobody sent one to members who came another way."""
    if private.get("invited_by") is None:
        return []
    organization_id = UUID(private["organization_id"])
    recipient = await recipient_of(session, UUID(private["invited_by"]))
    member = await recipient_of(session, UUID(data["user_id"]))
    name = await InvitationRepository(session).organization_name(organization_id)
    if recipient is None or member is None or name is None:
        return []
    facts = {
        "member": line(member.name) or member.user.email,
        "role": role_in(recipient.locale, data["role"], None),
        "organization": line(name),
        "team_url": team_url(),
    }
    return [mail_to(recipient, "member_joined", "team", facts)]


@mails_for(LimitReached)
async def limit_mail(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - there is one
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The notice to the owner, once a day at most; under the organisation's lock, so that two don't cross."""
    organization_id = UUID(private["organization_id"])
    team = TeamRepository(session)
    organization = await team.lock_organization(organization_id)
    owners = await team.people_in(organization_id, ["owner"])
    recipient = await recipient_of(session, owners[0]) if owners else None
    now = clock.now()
    if organization is None or recipient is None:
        return []
    if await InvitationRepository(session).was_mailed(organization_id, "limit_reached", now - TOLD_EVERY):
        return []
    facts = {
        "organization": line(organization.name),
        "what": METRICS[recipient.locale].get(data["name"], data["name"]),
        "limit": str(data["limit"]),
        "upgrade_url": upgrade_url(),
    }
    request = MailRequest(
        template="limit_reached",
        to=recipient.user.email,
        locale=recipient.locale,
        category="team",
        expires_at=now + USEFUL_FOR,
        user_id=recipient.user.id,
        organization_id=organization_id,
        variables={"name": recipient.name, **facts},
    )
    return [request]


def role_in(locale: str, key: str, custom: str | None) -> str:
    """A role in words of the mail's language; a custom one has its own name."""
    return ROLES[locale].get(key) or line(custom or key)


def line(text: str) -> str:
    """A name on one line, because subjects have no more."""
    return " ".join(text.split())


def team_url() -> str:
    """The page of the application about the team."""
    return f"{get_settings().app_url}/settings/team"


async def _locale(invitations: InvitationRepository, card: InvitationCard) -> str:
    """The language of the account that has the address, else of who sent the invitation."""
    account = await invitations.account(card.invitation.email_canonical)
    if account is not None and account[1] is not None:
        return account[1]
    inviter = card.invitation.invited_by
    profile = await invitations.profile(inviter) if inviter is not None else None
    return profile.locale if profile else "fr"
