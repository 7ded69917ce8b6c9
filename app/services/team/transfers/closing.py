"""Owns the end of offers of ownership that nobody accepted, and what is told of it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.events import emit
from app.models.team import OwnershipTransfer
from app.repositories.team import OrganizationRepository
from app.repositories.team.transfers import TransferRepository
from app.services.team.events.transfers import (
    OwnershipCancelled,
    OwnershipDeclined,
    OwnershipEvent,
)

AT_ONCE = 200
"""So many organisations at most are looked after by one sweep."""


async def tell(session: SystemSession, kind: type[OwnershipEvent], transfer: OwnershipTransfer) -> None:
    """Emit what has happened to an offer."""
    event = kind(transfer_id=transfer.id, from_user_id=transfer.from_user_id, to_user_id=transfer.to_user_id)
    await emit(
        session,
        event,
        organization_id=transfer.organization_id,
        private={"organization_id": transfer.organization_id, "expires_at": transfer.expires_at},
    )


async def cancel_transfer_to(session: SystemSession, organization_id: UUID, user_id: UUID) -> int:
    """Cancel the open offer of an organisation to a person; how many there were.

    The caller holds the organisation's lock.
    """
    closed = await TransferRepository(session).close(
        OwnershipTransfer.organization_id == organization_id,
        OwnershipTransfer.to_user_id == user_id,
        status="cancelled",
        now=clock.now(),
    )
    for transfer in closed:
        await tell(session, OwnershipCancelled, transfer)
    return len(closed)


async def close_for(
    session: SystemSession, transfer: OwnershipTransfer, *, is_target: bool, now: datetime
) -> None:
    """End an open offer of a locked organisation: declined by its target, or taken back."""
    status = "declined" if is_target else "cancelled"
    closed = await TransferRepository(session).close(
        OwnershipTransfer.organization_id == transfer.organization_id,
        OwnershipTransfer.id == transfer.id,
        status=status,
        now=now,
    )
    for ended in closed:
        await tell(session, OwnershipDeclined if is_target else OwnershipCancelled, ended)


async def expire_late(session: SystemSession, organization_id: UUID, now: datetime) -> int:
    """Let the offer of a locked organisation expire if its time is over; how many there were."""
    closed = await TransferRepository(session).close(
        OwnershipTransfer.organization_id == organization_id,
        OwnershipTransfer.expires_at <= now,
        status="expired",
        now=now,
    )
    return len(closed)


async def organizations_with_late(session: SystemSession, now: datetime) -> Sequence[UUID]:
    """The organisations that have such offers."""
    return await TransferRepository(session).due(now, AT_ONCE)


async def expire_transfers_of(session: SystemSession, organization_id: UUID) -> int:
    """Lock an organisation, even a deleted one, and let its late offer expire; how many there were."""
    await OrganizationRepository(session).lock_any(organization_id)
    return await expire_late(session, organization_id, clock.now())
