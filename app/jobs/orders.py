"""The jobs of orders: the money of all of them is added up again."""

import logging

from app.core.access import Principal
from app.core.database import Database
from app.jobs.queue import job
from app.services.orders.verifying import report_money

log = logging.getLogger(__name__)


@job("orders.verify_order_money", queue="maintenance", cron="30 3 * * *")
async def verify_order_money(database: Database) -> None:
    """Daily: alert for orders whose payments or refunds do not add up, and for gaps in their numbers."""
    async with database.transaction(principal=Principal(kind="system", name="verify_order_money")) as session:
        found = await report_money(session)
    if found:
        log.error("Alert: %s orders or series of order numbers do not add up", found)
