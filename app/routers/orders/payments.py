"""The routes by which orders are paid through the payment provider."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.core.errors import problems
from app.core.etags import IfMatch, versions_of
from app.core.requests import StrictRoute
from app.routers.orders.markers import WRITES, Cashier, OrderReference, Reader, Writer, act_problems, tagged
from app.schemas.base import PathId
from app.schemas.orders import CheckoutOpen, CheckoutPaths, OrderAct, OrderDetail, PaymentAccept
from app.services.orders.accepting import AcceptingService
from app.services.orders.capturing import CapturingService
from app.services.orders.checkout import CheckoutService

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Checkouts = Annotated[CheckoutService, Depends()]
Capturing = Annotated[CapturingService, Depends()]
Accepting = Annotated[AcceptingService, Depends()]

UNREACHABLE = [
    "billing_not_configured",
    "payment_provider_unavailable",
    "payment_provider_error",
    "payment_provider_misconfigured",
]

CHECKOUT_PROBLEMS = problems(
    {
        409: [
            "invalid_transition",
            "payment_in_progress",
            "order_on_hold",
            "payment_window_closed",
            "provider_out_of_sync",
        ],
        422: ["return_path_invalid", "amount_too_small", "amount_too_large", "amount_not_chargeable"],
        503: UNREACHABLE,
    }
)


@router.post(
    "/{order_id}/checkout",
    status_code=201,
    dependencies=WRITES,
    responses={
        200: {"model": CheckoutOpen, "description": "The page that is open already."},
        **CHECKOUT_PROBLEMS,
    },
)
async def create_order_checkout(
    _: Writer, checkouts: Checkouts, order_id: OrderReference, body: CheckoutPaths, response: Response
) -> CheckoutOpen:
    """Open the page on which an order is paid.

    The page that is open already is answered with 200, as long as its total is the order's and it has more
    than five minutes left. The stock is held until a while after the page is over.
    """
    opened = await checkouts.open(order_id, body)
    response.headers["Location"] = opened.page.url
    response.status_code = 201 if opened.is_new else 200
    return opened.page


@router.post(
    "/{order_id}/checkout/sync",
    dependencies=WRITES,
    responses=problems({409: ["provider_out_of_sync"], 503: UNREACHABLE}),
)
async def sync_order_checkout(
    _: Reader, checkouts: Checkouts, order_id: OrderReference, response: Response
) -> OrderDetail:
    """Ask how the payment of an order went.

    For a buyer who returns from the page before the payment provider has told of it: the page is fetched
    and what was paid there is applied.
    """
    return tagged(response, await checkouts.sync(order_id))


@router.post(
    "/{order_id}/capture",
    dependencies=WRITES,
    responses={
        **act_problems("nothing_to_capture", "provider_out_of_sync"),
        **problems({402: ["payment_failed"], 503: UNREACHABLE}),
    },
)
async def capture_order(
    _: Cashier,
    capturing: Capturing,
    order_id: OrderReference,
    response: Response,
    body: OrderAct | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Take the money of an authorised payment.

    The whole of it, which is due before the order can be shipped.
    """
    return tagged(response, await capturing.capture(order_id, body or OrderAct(), versions_of(if_match)))


@router.post(
    "/{order_id}/payments/{payment_id}/accept",
    dependencies=WRITES,
    responses=problems(
        {
            404: ["not_found", "payment_not_found"],
            409: ["payment_not_acceptable", "invalid_transition", "insufficient_stock"],
            412: ["version_mismatch"],
        }
    ),
)
async def accept_order_payment(
    _: Cashier,
    accepting: Accepting,
    order_id: OrderReference,
    payment_id: PathId,
    body: PaymentAccept,
    response: Response,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Accept a payment of another amount.

    It becomes the order's payment, and the order is confirmed as if the whole had been paid. A payment in
    another currency can only be refunded.
    """
    return tagged(response, await accepting.accept(order_id, payment_id, body, versions_of(if_match)))
