"""Orders in numbers."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.core.database import ScopedSession
from app.models.orders import Order


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """The orders of one currency and one pair of states; amounts in minor units of the currency."""

    currency: str
    status: str
    payment_status: str
    orders: int
    paid_orders: int
    amount_paid: int
    amount_refunded: int


async def count_orders(session: ScopedSession, since: datetime, until: datetime | None) -> list[OrderCounts]:
    """The orders made from `since` on and before `until`, by currency and states, in one statement."""
    groups = (Order.currency, Order.status, Order.payment_status)
    statement = (
        select(
            *groups,
            func.count(Order.id),
            func.count(Order.paid_at),
            func.sum(Order.amount_paid),
            func.sum(Order.amount_refunded),
        )
        .where(Order.created_at >= since)
        .group_by(*groups)
        .order_by(*groups)
    )
    if until is not None:
        statement = statement.where(Order.created_at < until)
    return [
        # PostgreSQL's sum of bigints is a numeric.
        OrderCounts(currency, status, payment_status, orders, paid, int(received), int(refunded))
        for currency, status, payment_status, orders, paid, received, refunded in (
            await session.execute(statement)
        ).all()
    ]
