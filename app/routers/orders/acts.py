"""The routes of the acts on an order: each moves it one step, or refuses."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.core.errors import problems
from app.core.etags import IfMatch, versions_of
from app.core.requests import StrictRoute
from app.routers.orders.markers import (
    BASKET_CODES,
    MISSING_CODES,
    STOCK_CODES,
    WRITES,
    Cashier,
    OrderReference,
    Writer,
    act_problems,
    tagged,
)
from app.schemas.orders import (
    HoldRelease,
    ManualPayment,
    OrderCancel,
    OrderDetail,
    OrderReason,
    OrderShip,
    OrderSubmit,
)
from app.services.orders.cancelling import CancellingService
from app.services.orders.fulfilment import FulfilmentService
from app.services.orders.payment import OrderPaymentService
from app.services.orders.placing import PlacingService

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Placing = Annotated[PlacingService, Depends()]
Fulfilment = Annotated[FulfilmentService, Depends()]
Payments = Annotated[OrderPaymentService, Depends()]
Cancelling = Annotated[CancellingService, Depends()]


@router.post(
    "/{order_id}/submit",
    dependencies=WRITES,
    responses=problems(
        {
            402: ["quota_exceeded", "subscription_inactive"],
            404: ["not_found", *MISSING_CODES],
            409: ["invalid_transition", *STOCK_CODES, "price_changed"],
            412: ["version_mismatch"],
            422: BASKET_CODES,
        }
    ),
)
async def submit_order(
    _: Writer,
    orders: Placing,
    order_id: OrderReference,
    response: Response,
    body: OrderSubmit | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Place a draft.

    At today's prices: stock, code and number are taken as in creating an order.
    """
    return tagged(response, await orders.submit(order_id, body or OrderSubmit(), versions_of(if_match)))


@router.post(
    "/{order_id}/mark-paid",
    dependencies=WRITES,
    responses=act_problems(
        "invalid_transition", "payment_in_progress", "insufficient_stock", invalid=("amount_mismatch",)
    ),
)
async def mark_order_paid(
    _: Cashier,
    payments: Payments,
    order_id: OrderReference,
    body: ManualPayment,
    response: Response,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Write down a payment by hand.

    For money that did not come through the payment provider. `amount` must be the order's total; the
    order is confirmed and its stock taken. An expired order takes its stock again; where that was sold
    meanwhile, the settings' `oversold_policy` decides: `refund` refuses the payment, `backorder` confirms
    the order and holds it.
    """
    return tagged(response, await payments.mark_paid(order_id, body, versions_of(if_match)))


@router.post(
    "/{order_id}/process",
    dependencies=WRITES,
    responses=act_problems("invalid_transition", "order_on_hold"),
)
async def process_order(
    _: Writer,
    orders: Fulfilment,
    order_id: OrderReference,
    response: Response,
    body: OrderReason | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Begin to make or pack an order.

    An order in the making is answered as it is.
    """
    return tagged(response, await orders.process(order_id, body or OrderReason(), versions_of(if_match)))


@router.post(
    "/{order_id}/hold",
    dependencies=WRITES,
    responses=act_problems("invalid_transition", "order_on_hold"),
)
async def hold_order(
    _: Writer,
    orders: Fulfilment,
    order_id: OrderReference,
    response: Response,
    body: OrderReason | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Hold an order.

    Nothing is made or shipped until the hold is released. An order that is held by hand is answered as
    it is.
    """
    return tagged(response, await orders.hold(order_id, body or OrderReason(), versions_of(if_match)))


@router.post(
    "/{order_id}/release-hold",
    dependencies=WRITES,
    responses=act_problems(
        "order_not_on_hold", "hold_not_releasable", "insufficient_stock", "payment_unresolved"
    ),
)
async def release_order_hold(
    _: Writer,
    orders: Fulfilment,
    order_id: OrderReference,
    body: HoldRelease,
    response: Response,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Release an order.

    `reason` is due and is kept in the history. An oversold order takes its stock now. A hold because of money
    that does not fit ends when that was accepted or refunded, the hold of a dispute with the dispute.
    """
    return tagged(response, await orders.release_hold(order_id, body, versions_of(if_match)))


@router.post(
    "/{order_id}/ship",
    dependencies=WRITES,
    responses={
        **act_problems(
            "invalid_transition",
            "order_on_hold",
            "payment_required",
            "payment_not_captured",
            invalid=("quantity_exceeded",),
        ),
        **problems({404: ["not_found", "item_not_found"]}),
    },
)
async def ship_order(
    _: Writer,
    orders: Fulfilment,
    order_id: OrderReference,
    response: Response,
    body: OrderShip | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Ship an order, or a part of it.

    With `lines` only those units leave: the order is in the making until the last one has left.
    """
    return tagged(response, await orders.ship(order_id, body or OrderShip(), versions_of(if_match)))


@router.post("/{order_id}/deliver", dependencies=WRITES, responses=act_problems("invalid_transition"))
async def deliver_order(
    _: Writer,
    orders: Fulfilment,
    order_id: OrderReference,
    response: Response,
    body: OrderReason | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Write down that an order has arrived.

    A paid order is complete with that. A delivered order is answered as it is.
    """
    return tagged(response, await orders.deliver(order_id, body or OrderReason(), versions_of(if_match)))


@router.post(
    "/{order_id}/cancel",
    dependencies=WRITES,
    responses=act_problems(
        "invalid_transition",
        "order_on_hold",
        "payment_in_progress",
        "order_disputed",
        "nothing_to_refund",
        "refund_required",
        invalid=("reason_required", "refund_exceeds_paid"),
    ),
)
async def cancel_order(
    _: Writer,
    orders: Cancelling,
    order_id: OrderReference,
    response: Response,
    body: OrderCancel | None = None,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Cancel an order.

    Its stock and its code go back. What was paid is refunded in full, unless `refund` says otherwise; giving
    money back needs `orders:refund`. Pieces go back on the shelf, but for those of personalised lines; with
    `restock` all do, or none. An order in the making needs `orders:cancel_in_production` and a `reason`. A
    cancelled order is answered as it is.
    """
    return tagged(response, await orders.cancel(order_id, body or OrderCancel(), versions_of(if_match)))
