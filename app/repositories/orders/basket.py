"""Everything that the price of a basket is made from, read with one statement whatever its size.

The row guard does not see it: the owner is its first parameter, and every table is joined by it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from app.core.database import ScopedSession
from app.models.base import Base
from app.models.orders import OrderSettings, ShippingRate
from app.repositories.base import detached
from app.repositories.products import Level

M = TypeVar("M", bound=Base)


class BasketProduct(NamedTuple):
    """What an order needs of a product; the members are columns of `products`."""

    id: UUID
    name: str
    slug: str
    sku: str | None
    category: str | None
    price: int
    currency: str
    tax_category: str
    weight_g: int | None
    options: list[dict[str, Any]]
    status: str
    track_inventory: bool
    allow_backorder: bool
    stock: int
    reserved: int
    low_stock_threshold: int | None
    lead_time_days: int | None
    version: int

    @property
    def available(self) -> int | None:
        """The pieces that may still be ordered; None when they are not counted."""
        return self.stock - self.reserved if self.track_inventory else None

    def held(self, quantity: int) -> Level:
        """This product once so many pieces more are held of it."""
        return Level(
            id=self.id,
            sku=self.sku,
            slug=self.slug,
            name=self.name,
            status=self.status,
            price=self.price,
            currency=self.currency,
            stock=self.stock,
            reserved=self.reserved + quantity,
            track_inventory=self.track_inventory,
            low_stock_threshold=self.low_stock_threshold,
            version=self.version,
            delta_stock=0,
            delta_reserved=quantity,
        )


@dataclass(frozen=True, slots=True)
class BasketRows:
    """The rows behind a basket. Products that are not the organisation's, or deleted, are not among them.

    Settings and rate are in no session: nothing that is done to them is written. `tax_rates` holds (region,
    tax_category, rate_bps) of the country that taxes; `settings` is None before their first use.
    """

    products: dict[UUID, BasketProduct] = field(default_factory=dict)
    settings: OrderSettings | None = None
    shipping: ShippingRate | None = None
    tax_rates: Sequence[tuple[str, str, int]] = ()


class _Columns(Generic[M]):
    """The columns of a class in a SELECT, and the way back from a row."""

    def __init__(self, model: type[M], alias: str, before: int) -> None:
        self.model = model
        told = [one for one in model.__mapper__.column_attrs if not one.deferred]
        self.keys = [one.key for one in told]
        self.sql = ", ".join(f"{alias}.{one.columns[0].name}" for one in told)
        self.place = slice(before, before + len(told))

    def read(self, row: Sequence[Any]) -> M:
        """The object of a row, in no session."""
        return detached(self.model, dict(zip(self.keys, row[self.place], strict=True)))

    def is_there(self, row: Sequence[Any]) -> bool:
        """Whether an outer join found a row; the owner leads the columns of every owned table."""
        return row[self.place.start] is not None


PRODUCT = slice(0, len(BasketProduct._fields))
SETTINGS = _Columns(OrderSettings, "s", PRODUCT.stop)
SHIPPING = _Columns(ShippingRate, "r", SETTINGS.place.stop)

BASKET = f"""
    SELECT {", ".join(f"p.{name}" for name in BasketProduct._fields)}, {SETTINGS.sql}, {SHIPPING.sql},
           (SELECT coalesce(jsonb_agg(jsonb_build_array(t.region, t.tax_category, t.rate_bps)
                                      ORDER BY t.tax_category), '[]')
            FROM tax_rates t
            WHERE t.organization_id = $1 AND t.country = coalesce($3, s.seller ->> 'country')
              AND t.region IN ('', CASE WHEN $3 IS NULL THEN s.seller ->> 'region' ELSE $4 END)),
           now()
    FROM products p
    LEFT JOIN order_settings s ON s.organization_id = p.organization_id
    LEFT JOIN shipping_rates r ON r.organization_id = p.organization_id AND r.code = $5
    WHERE p.organization_id = $1 AND p.id = ANY ($2) AND p.deleted_at IS NULL
    """  # noqa: S608 - names of the code
"""Without a country (no address was given) place and rates are those of the seller in the settings."""

LOCKED_BASKET = f"{BASKET} ORDER BY p.id FOR NO KEY UPDATE OF p"
"""The same for stock that is held next: nobody else moves that of these products meanwhile."""


async def read_basket(
    session: ScopedSession,
    organization_id: UUID,
    product_ids: Collection[UUID],
    *,
    country: str | None,
    region: str | None,
    shipping_code: str | None,
    lock: bool = False,
) -> BasketRows:
    """The products with the settings, the shipping rate and the tax rates that apply; and the time."""
    values = (organization_id, list(product_ids), country, region or "", shipping_code)
    rows = await session.fetch(LOCKED_BASKET if lock else BASKET, *values)
    if not rows:
        return BasketRows()
    first = rows[0]
    session.learn_now(first[-1])
    products = [BasketProduct._make(row[PRODUCT]) for row in rows]
    return BasketRows(
        products={product.id: product for product in products},
        settings=SETTINGS.read(first) if SETTINGS.is_there(first) else None,
        shipping=SHIPPING.read(first) if SHIPPING.is_there(first) else None,
        tax_rates=[(place, category, rate) for place, category, rate in first[-2]],
    )
