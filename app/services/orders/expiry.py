"""Orders that are not paid in time: what they hold goes back to whoever pays first."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.access import Principal
from app.core.database import OwnerSession, ScopedSession, act_as
from app.models.orders import Order
from app.repositories.orders.due import DueOrder, find_due
from app.services.orders.desk import OrderDesk
from app.services.orders.discounts import DiscountService
from app.services.orders.events import OrderExpired
from app.services.orders.states import UNPAID
from app.services.products.stock import StockService

AT_ONCE = 200
"""So many orders at most are taken up by one sweep."""


class ExpiryService:
    """Lets orders of one organisation expire."""

    def __init__(self, session: OwnerSession, principal: Principal) -> None:
        self.session = session
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.discounts = DiscountService(session, principal)

    async def expire(self, order_id: UUID) -> bool:
        """Give back the stock and the code of an order that is still due under its lock; whether it was."""
        now = await act_as(self.session, reason="not paid in time")
        order = await self.desk.orders.locked(str(order_id))
        if order is None or not is_due(order, now):
            return False
        await self.stock.release(order.id)
        await self.discounts.release(order.id)
        order.status = "expired"
        order.reservation_expires_at = None
        await self.desk.put_back(order, OrderExpired)
        return True


def is_due(order: Order, now: datetime) -> bool:
    """Whether nothing but time stands between this order and its end."""
    return (
        order.status == "pending"
        and order.payment_status in UNPAID
        and order.hold_reason is None
        and order.reservation_expires_at is not None
        and order.reservation_expires_at <= now
    )


async def due_orders(session: ScopedSession) -> Sequence[DueOrder]:
    """The orders of all organisations that are due by the database's clock, those due for longest first."""
    return await find_due(session, await session.now(), AT_ONCE)
