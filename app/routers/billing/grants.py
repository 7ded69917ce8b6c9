"""The routes of plans by contract."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.core.errors import problems
from app.core.paging import Page
from app.core.requests import StrictRoute
from app.routers.billing.markers import STAFF_ONLY, Staff
from app.schemas.base import PathId
from app.schemas.billing.plans import GrantCreate, GrantQuery, GrantRead
from app.services.billing.paying.grants import Grants

router = APIRouter(route_class=StrictRoute, prefix="/api/billing/grants", tags=["billing"])


@router.get("", responses=problems({403: STAFF_ONLY, 422: ["cursor_invalid", "page_too_deep"]}))
async def list_grants(_: Staff, grants: Grants, query: Annotated[GrantQuery, Query()]) -> Page[GrantRead]:
    """List plans by contract.

    For the platform's staff. Newest first, of one organisation or of all; those that have ended too.
    """
    return await grants.list(query)


@router.post(
    "", status_code=201, responses=problems({403: STAFF_ONLY, 422: ["plan_unknown", "span_invalid"]})
)
async def create_grant(_: Staff, grants: Grants, body: GrantCreate, response: Response) -> GrantRead:
    """Give an organisation a plan by contract.

    For the platform's staff. It counts beside a subscription: the plan of higher rank is the one.
    """
    grant = await grants.create(body)
    response.headers["Location"] = f"/api/billing/grants/{grant.id}"
    return grant


@router.delete("/{grant_id}", status_code=204, responses=problems({403: STAFF_ONLY}))
async def end_grant(_: Staff, grants: Grants, grant_id: PathId) -> None:
    """End a plan by contract.

    For the platform's staff. It ends now; one that has not begun never does.
    """
    await grants.end(grant_id)
