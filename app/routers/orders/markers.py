"""What the routes of orders share: who may call them, how often, and what they answer besides success."""

from typing import Annotated

from fastapi import Depends, Path, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import etag
from app.core.limits import limited
from app.core.permissions import Permission
from app.schemas.orders import OrderDetail

Reader = Annotated[Principal, Depends(allow(Permission.orders_read, key=True))]
Writer = Annotated[Principal, Depends(allow(Permission.orders_write, key=True))]
Cashier = Annotated[Principal, Depends(allow(Permission.orders_refund))]
Refunder = Annotated[Principal, Depends(allow(Permission.orders_refund, key=True))]
Keeper = Annotated[Principal, Depends(allow(Permission.orders_settings))]

OrderReference = Annotated[
    str,
    Path(
        min_length=1, max_length=64, description="The order's id or its number.", examples=["ORD-2026-000001"]
    ),
]

READS = [Depends(limited("orders_read", by="principal"))]
CREATES = [Depends(limited("orders_create", by="principal"))]
QUOTES = [Depends(limited("orders_quote", by="principal"))]
WRITES = [Depends(limited("orders_write", by="principal"))]
REFUNDS = [Depends(limited("orders_refund", by="principal"))]

BASKET_CODES = [
    "customer_email_required",
    "too_many_lines",
    "mixed_currencies",
    "currency_not_supported",
    "shipping_not_available",
    "discount_not_applicable",
    "amount_out_of_range",
    "unknown_option",
    "option_not_applicable",
    "option_required",
    "option_invalid",
    "character_refused",
    "character_not_allowed",
    "text_too_long",
    "text_too_short",
]
STOCK_CODES = ["product_not_orderable", "insufficient_stock", "stock_out_of_range"]
MISSING_CODES = ["product_not_found", "design_not_found", "file_not_found"]


def act_problems(*conflicts: str, invalid: tuple[str, ...] = ()) -> dict[int | str, dict[str, object]]:
    """The problems of an act: its own conflicts and faults, and a stale version."""
    return problems({409: conflicts, 412: ["version_mismatch"], **({422: invalid} if invalid else {})})


def tagged(response: Response, order: OrderDetail) -> OrderDetail:
    """The order, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(order.version)
    return order
