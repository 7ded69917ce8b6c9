"""Owns the end of invitations that nobody accepted, and what is told of it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement

from app.core import clock
from app.core.database import SystemSession
from app.core.events import emit
from app.models.team import Invitation
from app.repositories.team import OrganizationRepository
from app.repositories.team.invitations import Closed, InvitationRepository
from app.services.team.events.invitations import (
    InvitationCancelled,
    InvitationDeclined,
    InvitationEvent,
    InvitationExpired,
)

AT_ONCE = 200
"""So many organisations at most are looked after by one sweep."""

ENDS: dict[str, type[InvitationEvent]] = {
    "cancelled": InvitationCancelled,
    "declined": InvitationDeclined,
    "expired": InvitationExpired,
}


async def close(
    session: SystemSession,
    organization_id: UUID,
    *conditions: ColumnElement[bool],
    status: str,
    now: datetime,
) -> Sequence[Closed]:
    """Close open invitations of an organisation, whose lock the caller holds, and tell of each."""
    closed = await InvitationRepository(session).close(
        Invitation.organization_id == organization_id, *conditions, status=status, now=now
    )
    for one in closed:
        await emit(
            session,
            ENDS[status](invitation_id=one.id),
            organization_id=organization_id,
            private={"organization_id": organization_id, "email": one.email, "invited_by": one.invited_by},
        )
    return closed


async def cancel_invitations_of(session: SystemSession, organization_id: UUID, user_id: UUID) -> int:
    """Cancel the open invitations that a person sent for an organisation; how many they were.

    The caller holds the organisation's lock.
    """
    sent = Invitation.invited_by == user_id
    return len(await close(session, organization_id, sent, status="cancelled", now=clock.now()))


async def expire_late(session: SystemSession, organization_id: UUID, now: datetime) -> int:
    """Let the invitations of a locked organisation expire whose time is over; how many they were."""
    late = Invitation.expires_at <= now
    return len(await close(session, organization_id, late, status="expired", now=now))


async def organizations_with_late(session: SystemSession, now: datetime) -> Sequence[UUID]:
    """The organisations that have such invitations."""
    return await InvitationRepository(session).due(now, AT_ONCE)


async def expire_invitations_of(session: SystemSession, organization_id: UUID) -> int:
    """Lock an organisation, even a deleted one, and let its late invitations expire; how many they were."""
    await OrganizationRepository(session).lock_any(organization_id)
    return await expire_late(session, organization_id, clock.now())
