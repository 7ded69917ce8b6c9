"""Owns the end of deleted organisations, once nobody can restore them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.events import emit
from app.repositories.team import TeamRepository
from app.repositories.team.purging import due_organizations, purge_organization
from app.services.billing.paying.cancelling import may_purge
from app.services.team.events.organizations import OrganizationPurged

AT_ONCE = 100
"""So many organisations at most are purged by one sweep."""


async def due(session: SystemSession, now: datetime) -> Sequence[UUID]:
    """The organisations whose time to be restored is over."""
    return await due_organizations(session, now, AT_ONCE)


async def purge(session: SystemSession, organization_id: UUID, now: datetime) -> bool:
    """Remove an organisation that is due, and tell of it.

    False when it was restored meanwhile, or while the payment provider has not forgotten it yet.
    """
    if not await may_purge(session, organization_id):
        return False
    if not await purge_organization(session, organization_id, now):
        return False
    await emit(session, OrganizationPurged(organization_id=organization_id), organization_id=organization_id)
    return True


async def note_activity(session: SystemSession, since: datetime) -> None:
    """Write into memberships when their people were last active, as far as sessions moved since then."""
    await TeamRepository(session).note_activity(since)
