"""The routes of how an organisation prices and keeps its orders, and of its orders in numbers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.paging import Page, PageQuery
from app.core.requests import StrictRoute
from app.routers.orders.markers import READS, WRITES, Keeper, Reader
from app.schemas.orders.rates import ShippingRateList, ShippingRateRead, TaxRateList, TaxRateRead
from app.schemas.orders.settings import OrderSettingsRead, OrderSettingsUpdate
from app.schemas.orders.stats import OrderStats, OrderStatsQuery
from app.services.orders.rates import Rates
from app.services.orders.settings import OrderSettingsService
from app.services.orders.stats import OrderNumbers

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Settings = Annotated[OrderSettingsService, Depends()]

SETTINGS_PROBLEMS = problems({412: ["version_mismatch"], 422: ["currency_not_supported"]})


def with_etag(response: Response, settings: object) -> OrderSettingsRead:
    """The settings as they are answered, whose version goes out as `ETag` too."""
    answer = OrderSettingsRead.model_validate(settings)
    response.headers["ETag"] = etag(answer.version)
    return answer


@router.get("/stats", dependencies=READS, responses=problems({422: ["range_invalid", "range_too_long"]}))
async def get_order_stats(
    _: Reader, numbers: OrderNumbers, query: Annotated[OrderStatsQuery, Query()]
) -> OrderStats:
    """Get orders in numbers.

    Of the orders made from `from` on and before `to`, per currency: how many there are, in which states,
    and what was paid. Amounts are null for callers without `billing:read`.
    """
    return await numbers.get(query)


@router.get("/settings", dependencies=READS)
async def get_order_settings(_: Keeper, settings: Settings, response: Response) -> OrderSettingsRead:
    """Get the settings of orders.

    They are made with their defaults on first use. `ETag` is their version.
    """
    return with_etag(response, await settings.get())


@router.patch("/settings", dependencies=WRITES, responses=SETTINGS_PROBLEMS)
@router.put("/settings", dependencies=WRITES, responses=SETTINGS_PROBLEMS)
async def update_order_settings(
    _: Keeper,
    settings: Settings,
    body: OrderSettingsUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> OrderSettingsRead:
    """Change the settings of orders.

    Only the fields that are sent change. Placed orders keep the prefix, the taxes and the deadlines that
    they were placed with.
    """
    return with_etag(response, await settings.update(body, versions_of(if_match)))


@router.get("/tax-rates", dependencies=READS, responses=problems({422: ["page_too_deep", "cursor_invalid"]}))
async def list_tax_rates(_: Reader, rates: Rates, query: Annotated[PageQuery, Query()]) -> Page[TaxRateRead]:
    """List tax rates.

    By country, region and tax category. Of a product's tax category, the rate of the buyer's region holds,
    else that of the country, else the default of the settings.
    """
    return await rates.list_taxes(query)


@router.put("/tax-rates", dependencies=WRITES, responses=problems({422: ["duplicate_rate"]}))
async def replace_tax_rates(_: Keeper, rates: Rates, body: TaxRateList) -> Page[TaxRateRead]:
    """Replace the tax rates.

    The body is the complete list, and so is the answer. Placed orders keep their rates.
    """
    return await rates.replace_taxes(body)


@router.get(
    "/shipping-rates", dependencies=READS, responses=problems({422: ["page_too_deep", "cursor_invalid"]})
)
async def list_shipping_rates(
    _: Reader, rates: Rates, query: Annotated[PageQuery, Query()]
) -> Page[ShippingRateRead]:
    """List shipping rates.

    In the order in which they were sent, those that are switched off too.
    """
    return await rates.list_ways(query)


@router.put(
    "/shipping-rates",
    dependencies=WRITES,
    responses=problems({422: ["duplicate_rate", "currency_not_supported"]}),
)
async def replace_shipping_rates(_: Keeper, rates: Rates, body: ShippingRateList) -> Page[ShippingRateRead]:
    """Replace the shipping rates.

    The body is the complete list, and so is the answer. Placed orders keep theirs.
    """
    return await rates.replace_ways(body)
