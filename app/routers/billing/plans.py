"""The routes of the price list."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from app.core.access import public
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.routers.billing.markers import STAFF_ONLY, Staff
from app.schemas.billing.plans import PlanList, PlanRead, PlanUpdate
from app.services.billing.paying.plans import PlansDesk, Prices

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])

Visitor = Annotated[None, Depends(public("price list"))]
Code = Annotated[str, Path(max_length=40, description="`code` of the plan.", examples=["premium"])]


@router.get("/plans", dependencies=[Depends(limited("billing_plans", by="address"))])
async def list_plans(_: Visitor, prices: Prices, response: Response) -> PlanList:
    """List the plans.

    Every plan that is for everybody, lowest first, on one page; what costs nothing has no price. The answer
    may be kept for five minutes.
    """
    response.headers["Cache-Control"] = "public, max-age=300"
    return await prices.list()


@router.put(
    "/plans/{plan_code}",
    responses=problems({403: STAFF_ONLY, 409: ["rank_taken"], 422: ["price_repeated", "free_has_no_price"]}),
)
async def update_plan(_: Staff, plans: PlansDesk, plan_code: Code, body: PlanUpdate) -> PlanRead:
    """Change a plan.

    For the platform's staff, in a session with a second factor. Only what is sent changes. New prices are for
    those who subscribe from then on, once the payment provider has them too.
    """
    return await plans.update(plan_code, body)
