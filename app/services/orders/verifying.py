"""Looking for orders whose money does not add up and for numbers that are missing; repairs nothing."""

from functools import partial
from typing import Any
from uuid import UUID

from app.core.database import ScopedSession
from app.core.events import emit
from app.models.orders import Order
from app.repositories.orders.verifying import (
    Difference,
    find_differences,
    find_gaps,
    last_orders,
    read_orders,
)
from app.services.orders.events import OrderMoneyInconsistent, order_event

MAX_ALERTS = 1000
"""So many orders and so many series of numbers at most are reported by one verification."""

NUMBERS = {
    "order": "order_numbers",
    "invoice": "invoice_numbers",
    "credit_note": "credit_note_numbers",
}
"""What an alert says of a gap, by what is numbered."""


async def report_money(session: ScopedSession) -> int:
    """Alert for each order whose sums do not agree and each series with a gap; answers how many there are.

    A gap is told of the order that has the highest number of its series, or whose document has it. One
    without any order is only counted.
    """
    differences = await find_differences(session, MAX_ALERTS)
    gaps = await find_gaps(session, MAX_ALERTS)
    names: dict[UUID, list[str]] = {row.order_id: _names(row) for row in differences}
    orders: dict[UUID, tuple[Order, list[dict[str, Any]]]] = {}
    if differences:
        keys = [(row.organization_id, row.order_id) for row in differences]
        orders = {order.id: (order, items) for order, items in await read_orders(session, keys)}
    for order, items, kind in await last_orders(session, gaps) if gaps else ():
        orders[order.id] = (order, items)
        names.setdefault(order.id, []).append(NUMBERS[kind])
    for order_id, (order, items) in orders.items():
        event = order_event(partial(OrderMoneyInconsistent, differences=names[order_id]), order, items)
        await emit(session, event, organization_id=order.organization_id)
    return len(differences) + len(gaps)


def _names(row: Difference) -> list[str]:
    """What does not agree, in the words that an order's explanation has for it."""
    rules = {
        "paid": row.amount_paid == row.applied,
        "refunded": (row.amount_refunded, row.amount_refund_pending) == (row.succeeded, row.under_way),
        "payments": row.payments_off == 0,
    }
    return [name for name, holds in rules.items() if not holds]
