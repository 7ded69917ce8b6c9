"""Invitations and offers of ownership for tests; each function commits what it made."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.models.auth import OneTimeToken
from app.models.team import Invitation, OwnershipTransfer, TeamRole
from app.services.auth.one_time_tokens import TEAM_INVITATION, issue
from tests.support.personas import Persona


async def make_invitation(
    db: SystemSession,
    *,
    owner: Persona,
    email: str | None = None,
    role: str = "member",
    custom: TeamRole | None = None,
    organization_id: UUID | None = None,
    invited_by: UUID | None = None,
    expires_at: datetime | None = None,
) -> Invitation:
    """An open invitation with a live token, sent a while ago by `owner` into their organisation."""
    now = clock.now()
    address = parse_address(email or f"guest-{secrets.token_hex(6)}@example.test")
    invitation = Invitation(
        organization_id=organization_id or owner.organization_id,
        id=uuid7(),
        email=address.address,
        email_canonical=address.canonical,
        role="custom" if custom else role,
        team_role_id=custom.id if custom else None,
        role_key=custom.key if custom else role,
        invited_by=invited_by or owner.user_id,
        status="pending",
        expires_at=expires_at or now + timedelta(seconds=get_settings().invitation_seconds),
        send_count=1,
        last_sent_at=now - timedelta(minutes=5),
        created_at=now,
    )
    db.add(invitation)
    await db.flush()
    await issue(
        db,
        TEAM_INVITATION,
        str(invitation.id),
        now,
        organization_id=invitation.organization_id,
        subject_id=invitation.id,
        expires_at=invitation.expires_at,
    )
    await db.commit()
    return invitation


async def make_transfer(db: SystemSession, *, owner: Persona, target: UUID) -> OwnershipTransfer:
    """An open offer of the owner's organisation to another person."""
    now = clock.now()
    transfer = OwnershipTransfer(
        organization_id=owner.organization_id,
        id=uuid7(),
        from_user_id=owner.user_id,
        to_user_id=target,
        status="pending",
        expires_at=now + timedelta(seconds=get_settings().transfer_seconds),
        created_at=now,
    )
    db.add(transfer)
    await db.commit()
    return transfer


async def tokens_of(db: SystemSession, invitation_id: UUID | str) -> list[str]:
    """Every token that was made for an invitation, oldest first; the last one is in the newest mail."""
    statement = (
        select(OneTimeToken.id)
        .where(OneTimeToken.purpose == TEAM_INVITATION, OneTimeToken.owner_key == str(invitation_id))
        .order_by(OneTimeToken.created_at, OneTimeToken.id)
    )
    return [
        derive_token(key_ring(), EMAIL_TOKEN_PREFIX, TEAM_INVITATION, row)
        for row in (await db.execute(statement)).scalars()
    ]


async def token_of(db: SystemSession, invitation_id: UUID | str) -> str:
    """The token of an invitation's newest mail."""
    return (await tokens_of(db, invitation_id))[-1]
