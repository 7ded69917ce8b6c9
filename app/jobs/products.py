"""The jobs of products."""

import logging

from app.core.access import Principal
from app.core.database import Database
from app.jobs.queue import job
from app.services.products.stock import report_drift

log = logging.getLogger(__name__)


@job("products.verify_stock", queue="maintenance", cron="10 3 * * *")
async def verify_stock(database: Database) -> None:
    """Daily: alert for every product whose reserved pieces are not those that orders hold."""
    async with database.transaction(principal=Principal(kind="system", name="verify_stock")) as session:
        found = await report_drift(session)
    if found:
        log.error("Alert: %s products have other reserved quantities than orders hold", found)
