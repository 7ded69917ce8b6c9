"""Owns how invitations are shown."""

from datetime import datetime

from app.models.team import Invitation, Organization
from app.repositories.team.invitations import InvitationCard
from app.schemas.team.invitations import (
    InvitationPreview,
    InvitationRead,
    InvitingOrganization,
    Joined,
    JoinedOrganization,
    MyInvitation,
)
from app.services.team.invitations.granting import role_name


def read(invitation: Invitation, custom_name: str | None, now: datetime) -> InvitationRead:
    """An invitation as its team sees it; one whose time is over counts as expired before the sweep."""
    is_late = invitation.status == "pending" and invitation.expires_at <= now
    return InvitationRead.model_validate(
        {
            "id": invitation.id,
            "email": invitation.email,
            "role": invitation.role_key,
            "role_name": role_name(invitation.role_key, custom_name),
            "message": invitation.message,
            "status": "expired" if is_late else invitation.status,
            "invited_by": invitation.invited_by,
            "expires_at": invitation.expires_at,
            "send_count": invitation.send_count,
            "last_sent_at": invitation.last_sent_at,
            "created_at": invitation.created_at,
        }
    )


def mine(card: InvitationCard) -> MyInvitation:
    """An invitation as the invited person sees it."""
    invitation = card.invitation
    return MyInvitation(
        id=invitation.id,
        organization=InvitingOrganization(
            id=card.organization.id, name=card.organization.name, logo_url=None
        ),
        inviter_name=card.inviter_name,
        role=invitation.role_key,
        role_name=role_name(invitation.role_key, card.role_name),
        message=invitation.message,
        expires_at=invitation.expires_at,
        created_at=invitation.created_at,
    )


def preview(card: InvitationCard, *, has_account: bool) -> InvitationPreview:
    """An invitation as the holder of its token sees it."""
    invitation = card.invitation
    return InvitationPreview(
        organization_name=card.organization.name,
        logo_url=None,
        inviter_name=card.inviter_name,
        role_name=role_name(invitation.role_key, card.role_name),
        email_masked=masked(invitation.email),
        expires_at=invitation.expires_at,
        has_account=has_account,
    )


def masked(email: str) -> str:
    """An address of which only its owner recognises the rest: `c***@maison.example`."""
    local_part, _, domain = email.rpartition("@")
    return f"{local_part[:1]}***@{domain}"


def joined(organization: Organization, role: str) -> Joined:
    """Where somebody works from now on, and as what."""
    return Joined(
        organization=JoinedOrganization(
            id=organization.id, name=organization.name, slug=organization.slug, kind=organization.kind
        ),
        role=role,
    )
