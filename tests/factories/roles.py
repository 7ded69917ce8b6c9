"""Custom roles for tests; each function commits what it made."""

import secrets
from collections.abc import Sequence
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.team import TeamMember, TeamRole


async def make_role(
    db: SystemSession,
    organization_id: UUID,
    permissions: Sequence[str] = ("organization:read", "products:read"),
    *,
    key: str | None = None,
) -> TeamRole:
    """A custom role."""
    role = TeamRole(
        organization_id=organization_id,
        id=uuid7(),
        key=key or f"role-{secrets.token_hex(6)}",
        name="Craft",
        permissions=list(permissions),
        created_at=clock.now(),  # Not when the test's transaction began.
    )
    db.add(role)
    await db.commit()
    return role


async def give_role(db: SystemSession, member: TeamMember, role: TeamRole) -> None:
    """Give a member a custom role."""
    member.role, member.team_role_id = "custom", role.id
    await db.commit()
