"""The routes of the security log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.schemas.audit import SecurityLogEntry, SecurityLogQuery
from app.services.audit.security_log import SecurityLog

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]


@router.get(
    "/security-log",
    response_model=Page[SecurityLogEntry],
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_security_log(
    _: SignedIn, log: SecurityLog, query: Annotated[SecurityLogQuery, Query()]
) -> Rows[SecurityLogEntry]:
    """List what happened to the caller's account.

    Sign-ins, refusals, changes of password and the like of the last 90 days, newest first.
    """
    return await log.list(query)
