"""The routes of organisations."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.team.organizations import (
    MyOrganization,
    OrganizationCreate,
    OrganizationQuery,
    OrganizationRead,
    OrganizationSecurity,
    OrganizationUpdate,
    SecurityUpdate,
)
from app.services.team.organizations import Organizations
from app.services.team.security import OrganizationSecurities

router = APIRouter(route_class=StrictRoute, prefix="/api/organizations", tags=["team"])

SignedIn = Annotated[Principal, Depends(allow())]
Restorer = Annotated[Principal, Depends(allow(step_up=True))]
Reader = Annotated[Principal, Depends(allow(Permission.organization_read))]
Updater = Annotated[Principal, Depends(allow(Permission.organization_update))]
Securer = Annotated[Principal, Depends(allow(Permission.security_manage, step_up=True))]
Deleter = Annotated[Principal, Depends(allow(Permission.organization_delete, step_up=True))]

UPDATE_PROBLEMS = problems({409: ["slug_taken"], 412: ["version_mismatch"]})


def with_etag(response: Response, organization: OrganizationRead) -> OrganizationRead:
    """The organisation, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(organization.version)
    return organization


@router.get("", responses=problems({422: ["page_too_deep", "cursor_invalid"]}))
async def list_organizations(
    _: SignedIn, organizations: Organizations, query: Annotated[OrganizationQuery, Query()]
) -> Page[MyOrganization]:
    """List one's organisations, those first that one joined last.

    `blocked_by` is the code that entering one would answer this session with now, or null.
    """
    return await organizations.list(query)


@router.post(
    "",
    status_code=201,
    responses=problems(
        {403: ["session_limited_to_organization"], 409: ["slug_taken", "too_many_organizations"]}
    ),
)
async def create_organization(
    _: SignedIn, organizations: Organizations, body: OrganizationCreate, response: Response
) -> OrganizationRead:
    """Create an organisation, which the caller owns.

    The session goes on to work where it did; `POST /api/auth/switch-organization` enters the new one.
    """
    organization = await organizations.create(body)
    response.headers["Location"] = f"/api/organizations/{organization.id}"
    return with_etag(response, organization)


@router.get("/{organization_id}")
async def get_organization(
    _: Reader, organizations: Organizations, organization_id: PathId, response: Response
) -> OrganizationRead:
    """Get the active organisation; any other is 404.

    `ETag` is its version.
    """
    return with_etag(response, await organizations.get(organization_id))


@router.patch("/{organization_id}", responses=UPDATE_PROBLEMS)
@router.put("/{organization_id}", responses=UPDATE_PROBLEMS)
async def update_organization(
    _: Updater,
    organizations: Organizations,
    organization_id: PathId,
    body: OrganizationUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> OrganizationRead:
    """Change the organisation's name or slug.

    Only the fields that are sent change. Addresses with the old slug lead nowhere afterwards.
    """
    organization = await organizations.update(organization_id, body, versions_of(if_match))
    return with_etag(response, organization)


@router.put("/{organization_id}/security", responses=problems({409: ["enable_own_second_factor_first"]}))
async def update_organization_security(
    _: Securer, securities: OrganizationSecurities, organization_id: PathId, body: SecurityUpdate
) -> OrganizationSecurity:
    """Say what the organisation demands of its members' sessions.

    It holds for every session with its next request. Whoever demands a second factor needs one themselves.
    """
    return await securities.update(organization_id, body)


@router.delete(
    "/{organization_id}",
    status_code=204,
    responses=problems({409: ["personal_organization"], 422: ["confirmation_mismatch"]}),
)
async def delete_organization(
    _: Deleter,
    organizations: Organizations,
    organization_id: PathId,
    confirm: Annotated[
        str | None, Query(max_length=48, description="The organisation's slug.", examples=["maison-martin"])
    ] = None,
) -> None:
    """Delete the organisation.

    At once nobody enters it, and its API keys and webhooks stop. Its owner can restore it for 30 days; then
    its data is removed, except what the law keeps.
    """
    await organizations.delete(organization_id, confirm)


@router.post(
    "/{organization_id}/restore",
    responses=problems({409: ["too_many_organizations"], 410: ["organization_purged"]}),
)
async def restore_organization(
    _: Restorer, organizations: Organizations, organization_id: PathId, response: Response
) -> OrganizationRead:
    """Bring a deleted organisation back, on the free plan. Only its owner finds it.

    As long as it is not purged, which is thirty days after it was deleted. Subscriptions are not taken up
    again. One that is not deleted is answered as it is.
    """
    return with_etag(response, await organizations.restore(organization_id))
