"""Products that an import reads and writes: as many statements for one row as for a thousand."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Text, Uuid, cast, column, func, or_, select, update, values

from app.models.products import Product
from app.repositories.base import Repository

WRITTEN = (
    "name",
    "slug",
    "external_ref",
    "description",
    "category",
    "price",
    "currency",
    "tax_category",
    "weight_g",
    "options",
    "metadata_",
    "status",
    "track_inventory",
    "allow_backorder",
    "stock",
    "low_stock_threshold",
    "lead_time_days",
)
"""The attributes that an import writes, besides the SKU by which it knows a product."""


class Taken(NamedTuple):
    """Names that must be unique, and the product that has them."""

    id: UUID
    slug: str
    external_ref: str | None


class ImportRepository(Repository[Product]):
    """Products that are not deleted."""

    model: ClassVar[type[Product]] = Product

    async def wait_for_others(self) -> None:
        """Wait for other imports of the organisation, and keep them waiting until the commit."""
        principal = self.session.principal
        key = f"import {principal.organization_id if principal else None}"
        await self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))

    async def locked(self, skus: Collection[str]) -> list[Product]:
        """The products with these SKUs (in capitals), locked in the order of their ids."""
        statement = (
            select(Product)
            .where(func.upper(Product.sku).in_(skus), Product.deleted_at.is_(None))
            .order_by(Product.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def taken(self, slugs: Collection[str], references: Collection[str]) -> list[Taken]:
        """Products with one of these slugs, also with a number behind it, or one of these references."""
        stem = func.regexp_replace(Product.slug, "-[0-9]+$", "")
        statement = select(Product.id, Product.slug, Product.external_ref).where(
            Product.deleted_at.is_(None),
            or_(Product.slug.in_(slugs), stem.in_(slugs), Product.external_ref.in_(references)),
        )
        return [Taken(*row) for row in (await self.session.execute(statement)).all()]

    async def add_all(self, products: Sequence[Product]) -> None:
        """Insert products; the guard stamps their owner."""
        self.session.add_all(products)
        await self.session.flush()

    async def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> list[Product]:
        """Give products these values; answers them as they are now.

        A row has `id`, every attribute of WRITTEN, the search `terms`, and `step`: by how much its version
        rises.
        """
        typed = [column(name, getattr(Product, name).type) for name in WRITTEN]
        others = [column("id", Uuid), column("terms", ARRAY(Text)), column("step", Integer)]
        names = ("id", "terms", "step", *WRITTEN)
        new = values(*others, *typed, name="new_values").data(
            [tuple(row[name] for name in names) for row in rows]
        )
        statement = (
            update(Product)
            .where(Product.id == new.c.id)
            .values(
                # A column that is null in every row has no type of its own.
                **{name: cast(new.c[name], getattr(Product, name).type) for name in WRITTEN},
                search=func.array_to_tsvector(new.c.terms),
                version=Product.version + new.c.step,
                updated_at=func.clock_timestamp(),
            )
            .returning(Product)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return list((await self.session.execute(statement)).scalars().all())
