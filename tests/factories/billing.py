"""Plans of organisations for tests; each function commits what it made."""

from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import PlanGrant


async def grant_plan(db: SystemSession, organization_id: UUID, plan: str) -> PlanGrant:
    """Give an organisation a plan from a minute ago on, without an end."""
    grant = PlanGrant(
        organization_id=organization_id,
        id=uuid7(),
        plan_code=plan,
        starts_at=clock.now() - timedelta(minutes=1),
        ends_at=None,
        note="for a test",
        granted_by="tests",
    )
    db.add(grant)
    await db.commit()
    return grant
