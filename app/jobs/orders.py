"""The jobs of orders: those that nobody pays expire, and the money of all of them is added up again."""

import logging
from uuid import UUID

from app.core.access import Principal
from app.core.database import Database
from app.jobs.queue import defer, job
from app.services.orders.expiry import ExpiryService, close_session, due_orders
from app.services.orders.verifying import report_money

log = logging.getLogger(__name__)


@job("orders.expire_unpaid_orders", queue="default", cron="* * * * *")
async def expire_unpaid_orders(database: Database) -> None:
    """Each minute: a job for each order that is due, unless one waits for it already.

    An order whose job failed is due at the next minute, too.
    """
    async with database.transaction() as session:
        for order in await due_orders(session):
            await defer(
                session,
                "orders.expire_order",
                queueing_lock=f"order-expire:{order.order_id}",
                organization_id=order.organization_id,
                order_id=order.order_id,
            )


@job("orders.expire_order", queue="default")
async def expire_order(database: Database, *, organization_id: str, order_id: str) -> None:
    """Let one order expire, if it is still due when its checkout is closed.

    When Stripe does not answer nothing is released; the order is taken up again in a minute.
    """
    actor = Principal(kind="system", name="expire_order", organization_id=UUID(organization_id))
    async with database.owner(actor, autocommit=True) as reads:
        session_id = await ExpiryService(reads, actor).open_session(UUID(order_id))
    if session_id is not None:
        await close_session(database, UUID(order_id), session_id)
    async with database.acting(actor) as session:
        await ExpiryService(session, actor).expire(UUID(order_id))


@job("orders.verify_order_money", queue="maintenance", cron="30 3 * * *")
async def verify_order_money(database: Database) -> None:
    """Daily: alert for orders whose money does not add up, and for gaps in the series of numbers."""
    async with database.transaction(principal=Principal(kind="system", name="verify_order_money")) as session:
        found = await report_money(session)
    if found:
        log.error("Alert: %s orders or series of numbers do not add up", found)
