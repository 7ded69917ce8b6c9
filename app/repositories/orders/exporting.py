"""Orders as the rows of a CSV file, one per order."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute

from app.core.access import Principal
from app.core.database import Database
from app.models.orders import Order, OrderItem
from app.repositories.copying import Export, cell, csv_parts, moment
from app.repositories.orders.orders import CONDITIONS

PART = 1000

STATES = ("status", "payment_status", "hold_reason", "channel", "currency")
AMOUNTS = (
    "subtotal",
    "discount_amount",
    "shipping_amount",
    "shipping_tax_amount",
    "tax_amount",
    "total_amount",
    "amount_paid",
    "amount_refunded",
)
BUYER = ("customer_email", "customer_name", "customer_phone")
ADDRESS = ("name", "company", "line1", "line2", "postal_code", "city", "region", "country")
TEXTS = ("carrier", "tracking_number", "tracking_url", "notes")
MOMENTS = (
    "created_at",
    "placed_at",
    "paid_at",
    "shipped_at",
    "delivered_at",
    "completed_at",
    "cancelled_at",
)


def order_parts(
    database: Database, principal: Principal, filters: dict[str, Any], *, part: int = PART
) -> AsyncIterator[bytes]:
    """The orders that all filters fit, as CSV; `filters` as `OrderRepository.matching` takes them."""
    return csv_parts(database, principal, order_export(filters, part))


def order_export(filters: dict[str, Any], part: int = PART) -> Export:
    """What is copied: the columns of the file, of the orders that all filters fit."""
    columns = _columns()
    for name, value in filters.items():
        if value is not None:
            columns = columns.where(CONDITIONS[name](value))
    return Export(columns, Order.created_at, Order.id, part)


def _columns() -> Select[Any]:
    """The columns of the file, in its order."""
    return select(
        Order.order_number,
        Order.id,
        *_plain(STATES),
        *_plain(AMOUNTS),
        cell(_text(Order.discount_code)).label("discount_code"),
        *_items(),
        *_guarded(BUYER),
        *_address(Order.shipping_address, "shipping"),
        *_address(Order.billing_address, "billing"),
        *_guarded(TEXTS),
        *(moment(getattr(Order, name)).label(name) for name in MOMENTS),
    )


def _plain(names: tuple[str, ...]) -> list[Any]:
    return [getattr(Order, name) for name in names]


def _guarded(names: tuple[str, ...]) -> list[ColumnElement[Any]]:
    return [cell(_text(getattr(Order, name))).label(name) for name in names]


def _text(column: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    return cast(column, Text)


def _address(column: InstrumentedAttribute[Any], kind: str) -> list[ColumnElement[Any]]:
    return [cell(column[name].astext).label(f"{kind}_{name}") for name in ADDRESS]


def _items() -> list[ColumnElement[Any]]:
    """How many pieces, and of what: `2 x BAG-01; 1 x Leather strap`."""
    line = cast(OrderItem.quantity, Text) + literal(" x ") + func.coalesce(OrderItem.sku, OrderItem.name)
    of_order = OrderItem.order_id == Order.id
    units = select(func.sum(OrderItem.quantity)).where(of_order).correlate(Order)
    items = (
        select(func.string_agg(line, aggregate_order_by(literal("; "), OrderItem.position)))
        .where(of_order)
        .correlate(Order)
    )
    return [units.scalar_subquery().label("units"), items.scalar_subquery().label("items")]
