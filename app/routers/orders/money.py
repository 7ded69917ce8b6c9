"""The routes of an order's money: giving it back, and how its amounts came about."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.errors import problems
from app.core.etags import IfMatch, versions_of
from app.core.paging import Page, PageQuery
from app.core.requests import StrictRoute
from app.routers.orders.markers import READS, REFUNDS, OrderReference, Reader, Refunder
from app.schemas.base import PathId
from app.schemas.orders import OrderExplanation, RefundCreate, RefundRead
from app.services.orders.explaining import ExplainingService
from app.services.orders.refunding import RefundService

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Refunds = Annotated[RefundService, Depends()]
Explaining = Annotated[ExplainingService, Depends()]

REFUND_PROBLEMS = problems(
    {
        404: ["not_found", "payment_not_found", "item_not_found"],
        409: ["order_disputed", "nothing_to_refund"],
        412: ["version_mismatch"],
        422: [
            "refund_exceeds_paid",
            "refund_quantity_exceeded",
            "returned_quantity_exceeded",
            "refund_shipping_exceeded",
            "refund_amount_above_lines",
            "refund_amount_only",
            "reference_required",
        ],
    }
)


@router.get(
    "/{order_id}/refunds", dependencies=READS, responses=problems({422: ["page_too_deep", "cursor_invalid"]})
)
async def list_refunds(
    _: Reader, refunds: Refunds, order_id: OrderReference, query: Annotated[PageQuery, Query()]
) -> Page[RefundRead]:
    """List the refunds of an order.

    Newest first, those that failed too.
    """
    return Page[RefundRead].model_validate(await refunds.list(order_id, query))


@router.post("/{order_id}/refunds", status_code=201, dependencies=REFUNDS, responses=REFUND_PROBLEMS)
async def create_refund(
    _: Refunder,
    refunds: Refunds,
    order_id: OrderReference,
    body: RefundCreate,
    response: Response,
    if_match: IfMatch = None,
) -> RefundRead:
    """Refund an order, or a part of it.

    By `lines`, whose amounts are computed so that single refunds of all units add up to the line; by
    `shipping_amount`; or by an `amount` alone, with a reason. Beside lines or shipping, `amount` lowers what
    they come to. With `returned` the units have come back, and an order of which everything has is returned.
    The refund of a payment by hand is done with this call; `reference` says where it is in the books. Of
    money that the payment provider took it is `pending` until the provider has given it back.
    """
    refund = await refunds.create(order_id, body, versions_of(if_match))
    response.headers["Location"] = f"/api/orders/{refund.order_id}/refunds/{refund.id}"
    return refund


@router.get("/{order_id}/refunds/{refund_id}", dependencies=READS)
async def get_refund(_: Reader, refunds: Refunds, order_id: OrderReference, refund_id: PathId) -> RefundRead:
    """Get a refund.

    With the lines, the shipping and the tax that it stands for.
    """
    return RefundRead.model_validate(await refunds.get(order_id, refund_id))


@router.get("/{order_id}/explain", dependencies=READS)
async def explain_order(_: Reader, orders: Explaining, order_id: OrderReference) -> OrderExplanation:
    """Explain an order's amounts.

    Every step of the price with its rule, worked out again on what is stored, and what could be refunded
    now. A step that does not come out as it is stored says so; the operators are told.
    """
    return await orders.explain(order_id)
