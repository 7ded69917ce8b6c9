"""Owns the removal of a deleted organisation's rows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, text

from app.core.database import SystemSession
from app.models.team import Organization


async def due_organizations(session: SystemSession, now: datetime, limit: int) -> Sequence[UUID]:
    """The deleted organisations whose time to be restored is over, the longest ago first."""
    statement = (
        select(Organization.id)
        .where(Organization.deleted_at.is_not(None), Organization.purge_after <= now)
        .order_by(Organization.purge_after, Organization.id)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


async def purge_organization(session: SystemSession, organization_id: UUID, now: datetime) -> bool:
    """Remove a deleted organisation with every row of its own; False when it is not due (any more).

    Rows go by their references, in no order, so those between them are checked at the end; histories let
    themselves be removed only while `luneo.purge` is on. Accounting rows (`OwnedKept`) have no reference to
    the organisation, and stay.
    """
    await session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
    await session.execute(text("SELECT set_config('luneo.purge', 'on', true)"))
    statement = (
        delete(Organization)
        .where(
            Organization.id == organization_id,
            Organization.deleted_at.is_not(None),
            Organization.purge_after <= now,
        )
        .returning(Organization.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.scalar(statement)) is not None
