"""Questions to tax rates and shipping rates: short lists, each of them replaced as a whole."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.models.base import Base
from app.models.orders import ShippingRate, TaxRate
from app.repositories.base import Repository

R = TypeVar("R", bound=Base)


class RateRepository(Repository[R]):
    """One list of the organisation, in an order that every row has its own place in."""

    order: ClassVar[tuple[InstrumentedAttribute[Any], ...]]

    async def part(self, after: int, limit: int) -> list[R]:
        """At most `limit` rows behind the first `after` ones."""
        statement = self.select().order_by(*self.order).offset(after).limit(limit)
        return list((await self.session.execute(statement)).scalars().all())

    async def count(self) -> int:
        """How many rows there are."""
        return int(await self.session.scalar(select(func.count()).select_from(self.model)) or 0)

    async def replace(self, rows: Sequence[R]) -> None:
        """Let these be all rows: one statement removes the old ones and one inserts the new ones.

        The caller holds the lock of the order settings, so that two lists are not mixed.
        """
        gone = delete(self.model).execution_options(synchronize_session=False)
        await self.session.execute(gone)
        self.session.add_all(rows)
        await self.session.flush()


class TaxRateRepository(RateRepository[TaxRate]):
    """Tax rates of the organisation."""

    model: ClassVar[type[TaxRate]] = TaxRate
    order = (TaxRate.country, TaxRate.region, TaxRate.tax_category)


class ShippingRateRepository(RateRepository[ShippingRate]):
    """Shipping rates of the organisation."""

    model: ClassVar[type[ShippingRate]] = ShippingRate
    order = (ShippingRate.position, ShippingRate.code)
