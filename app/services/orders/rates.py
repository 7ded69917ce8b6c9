"""Tax rates and shipping rates: short lists that staff read by pages and replace as a whole."""

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import Annotated, Any

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid
from app.core.paging import Page, PageQuery, Rows, make_number, offset_of, read_number
from app.models.orders import ShippingRate, TaxRate
from app.repositories.orders.rates import RateRepository, ShippingRateRepository, TaxRateRepository
from app.schemas.orders.rates import ShippingRateList, ShippingRateRead, TaxRateList, TaxRateRead
from app.services.orders.faults import refuse_currency
from app.services.orders.settings import OrderSettingsService


class RateService:
    """What a team does with its rates. Orders that were placed keep the rates that they were placed with."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.principal = principal
        self.settings = OrderSettingsService(session, principal)
        self.taxes = TaxRateRepository(session)
        self.ways = ShippingRateRepository(session)

    async def list_taxes(self, query: PageQuery) -> Page[TaxRateRead]:
        """A page of tax rates by country, region and category. 422 `page_too_deep`, `cursor_invalid`."""
        return Page[TaxRateRead].model_validate(await self._page("tax_rates", self.taxes, query))

    async def list_ways(self, query: PageQuery) -> Page[ShippingRateRead]:
        """A page of shipping rates in the order in which they were sent; refuses as above."""
        return Page[ShippingRateRead].model_validate(await self._page("shipping_rates", self.ways, query))

    async def replace_taxes(self, body: TaxRateList) -> Page[TaxRateRead]:
        """Let these be all tax rates; answers the complete list. 422 `duplicate_rate`."""
        _refuse_duplicates((item.country, item.region, item.tax_category) for item in body.items)
        rates = [TaxRate(**item.model_dump()) for item in body.items]
        return Page[TaxRateRead].model_validate(await self._replace(self.taxes, rates))

    async def replace_ways(self, body: ShippingRateList) -> Page[ShippingRateRead]:
        """Let these be all shipping rates; answers the complete list.

        422 `duplicate_rate`, `currency_not_supported`.
        """
        _refuse_duplicates(item.code for item in body.items)
        for n, item in enumerate(body.items):
            refuse_currency(item.currency, f"/items/{n}/currency")
        rates = [ShippingRate(**item.model_dump(), position=n) for n, item in enumerate(body.items)]
        return Page[ShippingRateRead].model_validate(await self._replace(self.ways, rates))

    async def _page(self, name: str, rates: RateRepository[Any], query: PageQuery) -> Rows[Any]:
        scope = json.dumps([name, str(self.principal.organization_id)]).encode()
        after = offset_of(query) if query.cursor is None else read_number(query.cursor, scope)
        found = await rates.part(after, query.limit + 1)
        has_more = len(found) > query.limit
        cursor = make_number(scope, after + query.limit) if has_more else None
        total = await rates.count() if query.page is not None or query.count else None
        return Rows(found[: query.limit], cursor, total)

    async def _replace(self, rates: RateRepository[Any], rows: Sequence[Any]) -> Rows[Any]:
        await self.settings.lock()
        await rates.replace(rows)
        return Rows(await rates.part(0, len(rows)), None, len(rows))


def _refuse_duplicates(keys: Iterable[Hashable]) -> None:
    """Raise 422 `duplicate_rate` with a pointer to each item whose key stands before it already."""
    known: set[Hashable] = set()
    faults = []
    for n, key in enumerate(keys):
        if key in known:
            faults.append(FieldError(f"/items/{n}", "duplicate_rate", "The same rate stands before it."))
        known.add(key)
    if faults:
        raise Invalid("duplicate_rate", "A rate is listed twice; leave one of them out.", errors=faults)


Rates = Annotated[RateService, Depends()]
