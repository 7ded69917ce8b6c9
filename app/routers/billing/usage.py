"""The routes of usage: what is used of the plan, and what programs report."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.routers.billing.markers import READS
from app.schemas.billing.usage import UsageEventCreate, UsageEventRead, UsageList, UsageQuery
from app.services.billing.usage_reading import Usages

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])

UsageReader = Annotated[Principal, Depends(allow(Permission.billing_read, key=True))]
Maker = Annotated[Principal, Depends(allow(Permission.designs_generate, key=True))]


@router.get(
    "/usage",
    dependencies=READS,
    responses=problems({422: ["period_unknown"]}),
)
async def get_usage(_: UsageReader, usages: Usages, query: Annotated[UsageQuery, Query()]) -> UsageList:
    """Read what is used of the plan.

    Counters begin anew each period; gauges count what is there now, and are left out of earlier periods.
    All of it is one page.
    """
    return await usages.list(query.period)


@router.post(
    "/usage-events",
    status_code=201,
    dependencies=[Depends(limited("usage_events", by="principal"))],
    responses={
        200: {"model": UsageEventRead, "description": "It was counted already."},
        **problems({402: ["quota_exceeded", "subscription_inactive"]}),
    },
)
async def record_usage(
    _: Maker, usages: Usages, body: UsageEventCreate, response: Response
) -> UsageEventRead:
    """Report what was made elsewhere.

    The same `idempotency_key` counts once: 201 the first time, 200 afterwards. When the plan's quota has no
    room for it, nothing is counted.
    """
    is_new, event = await usages.report(body)
    response.status_code = 201 if is_new else 200
    if is_new:
        response.headers["Location"] = f"/api/billing/usage?period={event.period}"
    return event
