"""The routes of roles."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.team.roles import RoleCreate, RoleEffects, RolePreview, RoleQuery, RoleRead, RoleUpdate
from app.services.team.roles import Roles

router = APIRouter(route_class=StrictRoute, prefix="/api/team", tags=["team"])

Reader = Annotated[Principal, Depends(allow(Permission.members_read))]
Keeper = Annotated[Principal, Depends(allow(Permission.roles_manage))]

UPDATE_PROBLEMS = problems(
    {403: ["role_not_grantable"], 412: ["version_mismatch"], 422: ["unknown_permission"]}
)


def with_etag(response: Response, role: RoleRead) -> RoleRead:
    """The role, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(role.version)
    return role


@router.get("/roles", responses=problems({422: ["cursor_invalid"]}))
async def list_roles(_: Reader, roles: Roles, query: Annotated[RoleQuery, Query()]) -> Page[RoleRead]:
    """List the roles: the built-in ones from the owner down, then the custom ones, oldest first.

    Each with its permissions and its version; `members_count` is how many hold it.
    """
    return await roles.list(query)


@router.post(
    "/roles",
    status_code=201,
    responses=problems(
        {
            402: ["feature_not_in_plan"],
            403: ["role_not_grantable"],
            409: ["role_key_taken", "too_many"],
            422: ["unknown_permission"],
        }
    ),
)
async def create_role(_: Keeper, roles: Roles, body: RoleCreate, response: Response) -> RoleRead:
    """Create a custom role.

    It holds permissions that its author has and that are not the owner's alone, and always
    `organization:read`. An organisation has at most 20.
    """
    role = await roles.create(body)
    response.headers["Location"] = f"/api/team/roles/{role.id}"
    return with_etag(response, role)


@router.get("/roles/{role_id}")
async def get_role(_: Reader, roles: Roles, role_id: PathId, response: Response) -> RoleRead:
    """Get a custom role; the built-in ones have no id.

    `ETag` is its version.
    """
    return with_etag(response, await roles.get(role_id))


@router.patch("/roles/{role_id}", responses=UPDATE_PROBLEMS)
@router.put("/roles/{role_id}", responses=UPDATE_PROBLEMS)
async def update_role(
    _: Keeper,
    roles: Roles,
    role_id: PathId,
    body: RoleUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> RoleRead:
    """Change a custom role.

    Only the fields that are sent change; `key` never does. Its members have their new rights with their next
    request. Callers act only on roles, and grant only permissions, within their own.
    """
    return with_etag(response, await roles.update(role_id, body, versions_of(if_match)))


@router.post(
    "/roles/{role_id}/preview",
    responses=problems({403: ["role_not_grantable"], 422: ["unknown_permission"]}),
)
async def preview_role(_: Keeper, roles: Roles, role_id: PathId, body: RolePreview) -> RoleEffects:
    """See what other permissions would give and take.

    Changes nothing. `gains` and `losses` name the permissions, `members` the people.
    """
    return await roles.preview(role_id, body)


@router.delete(
    "/roles/{role_id}",
    status_code=204,
    responses=problems({403: ["role_not_grantable"], 409: ["role_in_use"]}),
)
async def delete_role(_: Keeper, roles: Roles, role_id: PathId) -> None:
    """Delete a custom role that no member has and no open invitation offers.

    Give its members another role first, and cancel the invitations.
    """
    await roles.delete(role_id)
