"""Everything that the price of a basket is made from, read with one statement whatever its size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.core.database import ScopedSession
from app.models.orders import OrderSettings, ShippingRate, TaxRate
from app.models.products import Product


@dataclass(frozen=True, slots=True)
class BasketRows:
    """The rows behind a basket. Products that are not the organisation's, or deleted, are not among them.

    `tax_rates` holds (region, tax_category, rate_bps) of the country that taxes; `settings` is None before
    their first use.
    """

    products: dict[UUID, Product] = field(default_factory=dict)
    settings: OrderSettings | None = None
    shipping: ShippingRate | None = None
    tax_rates: Sequence[tuple[str, str, int]] = ()


async def read_basket(
    session: ScopedSession,
    product_ids: Collection[UUID],
    *,
    country: str | None,
    region: str | None,
    shipping_code: str | None,
) -> BasketRows:
    """The products with the settings, the shipping rate and the tax rates that apply.

    Without a `country` (no address was given) place and rates are those of the seller in the settings.
    """
    statement = (
        select(Product, OrderSettings, ShippingRate, _tax_rates(country, region).label("tax_rates"))
        .outerjoin(OrderSettings, OrderSettings.organization_id == Product.organization_id)
        .outerjoin(
            ShippingRate,
            and_(ShippingRate.organization_id == Product.organization_id, ShippingRate.code == shipping_code),
        )
        .where(Product.id.in_(product_ids), Product.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    )
    rows = (await session.execute(statement)).all()
    if not rows:
        return BasketRows()
    first = rows[0]
    return BasketRows(
        products={row.Product.id: row.Product for row in rows},
        settings=first.OrderSettings,
        shipping=first.ShippingRate,
        tax_rates=[(place, category, rate) for place, category, rate in first.tax_rates],
    )


def _tax_rates(country: str | None, region: str | None) -> ColumnElement[list[tuple[str, str, int]]]:
    """The rates of one country as a JSON list; the country is the seller's when none is given."""
    triple = func.jsonb_build_array(TaxRate.region, TaxRate.tax_category, TaxRate.rate_bps)
    rates = func.coalesce(
        func.jsonb_agg(aggregate_order_by(triple, TaxRate.tax_category)), literal([], JSONB), type_=JSONB
    )
    if country is not None:
        place = and_(TaxRate.country == country, TaxRate.region.in_(("", region or "")))
    else:
        seller = OrderSettings.seller
        place = (
            select(OrderSettings.organization_id)
            .where(
                seller["country"].astext == TaxRate.country,
                or_(TaxRate.region == "", TaxRate.region == seller["region"].astext),
            )
            .exists()
        )
    return select(rates).select_from(TaxRate).where(place).scalar_subquery()
