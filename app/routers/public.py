"""The routes that everybody may call: what buyers without an account see."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from app.core.access import public
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.orders.buyers import PublicOrder, TrackRequest, TrackRequested
from app.services.orders.tracking import Tracking

router = APIRouter(route_class=StrictRoute, prefix="/api/public", tags=["public"])

Buyer = Annotated[None, Depends(public("a buyer has no account"))]
LinkHolder = Annotated[None, Depends(public("signed link from the mail"))]

LinkToken = Annotated[
    str, Path(max_length=512, description="The token of the mail's link.", examples=["luneo_ot_AZ..."])
]


@router.post(
    "/orders/track",
    status_code=202,
    dependencies=[Depends(limited("orders_track_ip", by="address"))],
)
async def track_order(_: Buyer, tracking: Tracking, body: TrackRequest) -> TrackRequested:
    """Ask for the link to an order.

    The answer is always the same. If the shop has an order with this number that was placed with this
    e-mail address, a link to it is mailed there, in French or English as `Accept-Language` prefers.
    """
    return await tracking.request_link(body)


@router.get(
    "/orders/{token}",
    dependencies=[Depends(limited("public_read_ip", by="address"))],
    responses=problems({404: ["not_found"], 410: ["token_expired"]}),
)
async def get_public_order(
    _: LinkHolder, tracking: Tracking, token: LinkToken, response: Response
) -> PublicOrder:
    """Follow an order by its link.

    For as long as the link is good, how the order stands: its lines, amounts, shipment and dates. It names
    no person.
    """
    response.headers["Cache-Control"] = "no-store"
    return await tracking.follow(token)
