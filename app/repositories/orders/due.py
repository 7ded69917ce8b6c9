"""Orders of every organisation whose time to be paid is over."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from app.core.database import ScopedSession
from app.models.orders import Order


class DueOrder(NamedTuple):
    """An order that may expire, and whose it is."""

    organization_id: UUID
    order_id: UUID


async def find_due(session: ScopedSession, now: datetime, limit: int) -> list[DueOrder]:
    """The orders that have been due for longest; at most `limit`. Whoever expires one looks again."""
    statement = (
        select(Order.organization_id, Order.id)
        .where(
            Order.status == "pending",
            Order.payment_status.in_(("unpaid", "failed")),
            Order.hold_reason.is_(None),
            Order.reservation_expires_at <= now,
        )
        .order_by(Order.reservation_expires_at)
        .limit(limit)
    )
    return [DueOrder(*row) for row in (await session.execute(statement)).all()]
