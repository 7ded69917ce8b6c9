"""The routes of orders: listing, placing, quoting, reading, changing and deleting."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.json_answers import JsonAnswer
from app.core.paging import Page, PageQuery
from app.core.requests import StrictRoute
from app.routers.orders.markers import (
    BASKET_CODES,
    CREATES,
    MISSING_CODES,
    QUOTES,
    READS,
    STOCK_CODES,
    WRITES,
    OrderReference,
    Reader,
    Writer,
    act_problems,
    tagged,
)
from app.schemas.orders import (
    HistoryEntry,
    OrderCreate,
    OrderCreated,
    OrderDetail,
    OrderQuery,
    OrderRead,
    OrderSearch,
    OrderUpdate,
    OrderUpdateAnywhere,
    QuoteRead,
)
from app.services.orders.cancelling import CancellingService
from app.services.orders.checkout import CheckoutService
from app.services.orders.editing import EditingService
from app.services.orders.history import OrderHistoryService
from app.services.orders.quoting import QuotingService
from app.services.orders.reading import OrderReader

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Reading = Annotated[OrderReader, Depends()]
Checkouts = Annotated[CheckoutService, Depends()]
Quoting = Annotated[QuotingService, Depends()]
Editing = Annotated[EditingService, Depends()]
Cancelling = Annotated[CancellingService, Depends()]
History = Annotated[OrderHistoryService, Depends()]

LIST_PROBLEMS = problems({422: ["query_empty", "sort_needs_page", "page_too_deep", "cursor_invalid"]})

CREATE_PROBLEMS = problems(
    {
        402: ["quota_exceeded", "subscription_inactive"],
        404: MISSING_CODES,
        409: [*STOCK_CODES, "price_changed"],
        422: [
            *BASKET_CODES,
            "metadata_too_large",
            "return_path_invalid",
            "amount_too_small",
            "amount_too_large",
            "amount_not_chargeable",
        ],
    }
)
QUOTE_PROBLEMS = problems({404: MISSING_CODES, 409: ["product_not_orderable"], 422: BASKET_CODES})
UPDATE_PROBLEMS = problems(
    {
        402: ["quota_exceeded", "subscription_inactive"],
        404: ["not_found", *MISSING_CODES],
        409: [
            "order_locked",
            "invalid_transition",
            *STOCK_CODES,
            "order_on_hold",
            "order_disputed",
            "payment_in_progress",
            "payment_required",
            "payment_not_captured",
            "refund_required",
        ],
        412: ["version_mismatch"],
        422: [
            "version_required",
            "status_not_settable",
            "reason_required",
            "metadata_too_large",
            *BASKET_CODES,
        ],
    }
)


@router.get("", response_model=Page[OrderRead], dependencies=READS, responses=LIST_PROBLEMS)
async def list_orders(_: Reader, orders: Reading, query: Annotated[OrderQuery, Query()]) -> Response:
    """List orders.

    Newest first, each with its lines. `cursor` works with the sorts by `created_at`; those by the total
    are paged with `page`.
    """
    return JsonAnswer(await orders.list(query))


@router.get(
    "/list", response_model=Page[OrderRead], dependencies=READS, responses=LIST_PROBLEMS, deprecated=True
)
async def list_orders_alias(_: Reader, orders: Reading, query: Annotated[OrderQuery, Query()]) -> Response:
    """List orders at their older address.

    The same as `GET /api/orders`.
    """
    return JsonAnswer(await orders.list(query))


@router.post(
    "/list", response_model=Page[OrderRead], dependencies=READS, responses=LIST_PROBLEMS, deprecated=True
)
async def search_orders_alias(_: Reader, orders: Reading, body: OrderSearch) -> Response:
    """List orders with the filters in the body.

    The same as `GET /api/orders`, with its parameters as members of a JSON object.
    """
    return JsonAnswer(await orders.list(body))


@router.post("", status_code=201, dependencies=CREATES, responses=CREATE_PROBLEMS)
async def create_order(_: Writer, orders: Checkouts, body: OrderCreate, response: Response) -> OrderCreated:
    """Place an order, or keep a draft.

    Everything is computed from the products, the rates and the code; a price in the body is an unknown
    field. The stock is held at once, until `reservation_expires_at`. An order that costs nothing is
    confirmed and paid. A draft (`status: "draft"`) holds no stock and has no number.
    """
    order = await orders.create(body)
    response.headers["Location"] = f"/api/orders/{order.id}"
    response.headers["ETag"] = etag(order.version)
    return order


@router.post("/quote", dependencies=QUOTES, responses=QUOTE_PROBLEMS)
async def quote_order(_: Reader, quotes: Quoting, body: OrderCreate) -> QuoteRead:
    """Price a basket.

    Takes the body of an order and answers what it would cost now and which products can be had. Nothing
    is held.
    """
    return await quotes.quote(body)


@router.post("/update", dependencies=WRITES, responses=UPDATE_PROBLEMS, deprecated=True)
@router.put("/update", dependencies=WRITES, responses=UPDATE_PROBLEMS, deprecated=True)
@router.patch("/update", dependencies=WRITES, responses=UPDATE_PROBLEMS, deprecated=True)
async def update_order_alias(
    _: Writer, orders: Editing, body: OrderUpdateAnywhere, response: Response, if_match: IfMatch = None
) -> OrderDetail:
    """Change an order that the body names.

    The same as `PATCH /api/orders/{order_id}`, with exactly one of `id`, `order_id`, `orderId` and
    `order_number` in the body.
    """
    changes = body.as_update()
    return tagged(response, await orders.update(body.reference, changes, versions_of(if_match)))


@router.get("/{order_id}", response_model=OrderDetail, dependencies=READS)
async def get_order(_: Reader, orders: Reading, order_id: OrderReference) -> Response:
    """Get an order.

    By its id or its number, with its lines, history, payments and refunds. `ETag` is its version.
    """
    order = await orders.get(order_id)
    return JsonAnswer(order.body, headers={"ETag": etag(order.version)})


@router.patch("/{order_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
@router.put("/{order_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
async def update_order(
    _: Writer,
    orders: Editing,
    order_id: OrderReference,
    body: OrderUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> OrderDetail:
    """Change an order.

    Only the fields that are sent change. Lines, shipping and code can be changed until the order is
    paid; the order is then priced anew, and `version` or `If-Match` is due. `status` runs the act that
    leads to it.
    """
    return tagged(response, await orders.update(order_id, body, versions_of(if_match)))


@router.delete(
    "/{order_id}", status_code=204, dependencies=WRITES, responses=act_problems("order_not_deletable")
)
async def delete_order(
    _: Writer, orders: Cancelling, order_id: OrderReference, if_match: IfMatch = None
) -> None:
    """Delete an order.

    A draft is removed; an order that is not paid is cancelled, and stays readable.
    """
    await orders.delete(order_id, versions_of(if_match))


@router.get(
    "/{order_id}/history", dependencies=READS, responses=problems({422: ["page_too_deep", "cursor_invalid"]})
)
async def list_order_history(
    _: Reader, history: History, order_id: OrderReference, query: Annotated[PageQuery, Query()]
) -> Page[HistoryEntry]:
    """List what has happened to an order.

    Every change of `status`, `payment_status` and `hold_reason`, the first one first, with actor and
    reason.
    """
    return Page[HistoryEntry].model_validate(await history.list(order_id, query))
