"""The routes of permissions and limits."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.team.permissions import Explain, Explanation, PermissionMatrix, TeamLimits
from app.services.team.limits import Limits
from app.services.team.permissions import Permissions

router = APIRouter(route_class=StrictRoute, prefix="/api/team", tags=["team"])

Reader = Annotated[Principal, Depends(allow(Permission.organization_read))]


@router.get("/permissions")
async def get_permissions(_: Reader, permissions: Permissions) -> PermissionMatrix:
    """See every permission, which roles have it, and one's own.

    Custom roles stand behind the built-in ones. `mine` is what the caller may do here.
    """
    return await permissions.matrix()


@router.post("/permissions/explain", responses=problems({404: ["not_found"], 422: ["unknown_permission"]}))
async def explain_permission(_: Reader, permissions: Permissions, body: Explain) -> Explanation:
    """Ask whether somebody may do something, and why.

    One's own rights are explained to everybody; those of another member need `members:update`.
    """
    return await permissions.explain(body)


@router.get("/limits")
async def get_team_limits(_: Reader, limits: Limits) -> TeamLimits:
    """See what the plan has room for, and how much of it is used.

    `limit` is null where the plan sets none. Open invitations count as `pending`.
    """
    return await limits.get()
