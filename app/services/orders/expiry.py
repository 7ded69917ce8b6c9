"""Orders that are not paid in time: what they hold goes back to whoever pays first."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from app.clients.stripe import stripe_client
from app.core.access import Principal
from app.core.database import Database, OwnerSession, ScopedSession, act_as
from app.models.orders import Order
from app.repositories.orders.due import DueOrder, find_due
from app.services.orders.desk import OrderDesk
from app.services.orders.discounts import DiscountService
from app.services.orders.events import OrderExpired
from app.services.orders.states import UNPAID
from app.services.orders.stripe_commands import end_session
from app.services.products.stock import StockService
from app.services.stripe_webhooks.processing import sync_object

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""So many orders at most are taken up by one sweep."""


class ExpiryService:
    """Lets orders of one organisation expire."""

    def __init__(self, session: OwnerSession, principal: Principal) -> None:
        self.session = session
        self.desk = OrderDesk(session, principal)
        self.stock = StockService(session, principal)
        self.discounts = DiscountService(session, principal)

    async def open_session(self, order_id: UUID) -> str | None:
        """The checkout that may still be open of an order that is due; None when there is none."""
        order = await self.desk.orders.get(order_id)
        if order is None or not is_due(order, await self.session.now()):
            return None
        return order.stripe_checkout_session_id

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


async def close_session(database: Database, order_id: UUID, session_id: str) -> None:
    """Let Stripe close the checkout of a due order before its stock goes to others.

    What was paid there meanwhile is applied. Raises the errors of the client: nothing may be released while
    nobody knows whether the buyer has paid.
    """
    found = await end_session(stripe_client(), session_id)
    if found["status"] == "complete":
        await sync_object(
            database, "checkout.session.completed", {"id": session_id, "object": "checkout.session"}
        )
    log.info("checkout_of_due_order", order_id=str(order_id), status=found["status"])


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
