"""The routes of revenue: what the ledger comes to, and its entries."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.routers.billing.markers import READS, Reader
from app.schemas.billing.revenue import EntryQuery, EntryRead, RevenueQuery, RevenueRead
from app.services.billing.revenue import Revenues

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])


@router.get("/revenue", dependencies=READS, responses=problems({422: ["range_invalid", "range_too_long"]}))
async def get_revenue(_: Reader, revenue: Revenues, query: Annotated[RevenueQuery, Query()]) -> RevenueRead:
    """Read revenue.

    What came in and went out within a half-open range of time, per currency, by time, source or product.
    """
    return await revenue.get(query)


@router.get(
    "/revenue/entries",
    response_model=Page[EntryRead],
    dependencies=READS,
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_revenue_entries(
    _: Reader, revenue: Revenues, query: Annotated[EntryQuery, Query()]
) -> Rows[EntryRead]:
    """List the entries of the ledger.

    Newest first, by when the money moved. Entries are never changed or removed.
    """
    return await revenue.entries(query)
