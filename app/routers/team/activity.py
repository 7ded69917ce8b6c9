"""The routes of the activity feed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.audit import Activity, ActivityQuery
from app.services.audit.activity import ActivityFeed

router = APIRouter(route_class=StrictRoute, prefix="/api/team", tags=["team"])

Reader = Annotated[Principal, Depends(allow(Permission.members_read))]


@router.get(
    "/activity",
    response_model=Page[Activity],
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_activity(
    _: Reader, feed: ActivityFeed, query: Annotated[ActivityQuery, Query()]
) -> Rows[Activity]:
    """List what was done to the organisation and its team.

    Newest first, as far back as the plan shows the audit log; names are the present ones.
    """
    return await feed.list(query)
