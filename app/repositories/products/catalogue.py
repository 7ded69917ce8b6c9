"""Questions to the catalogue: finding, changing and deleting products, and the history of their stock."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, cast, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.exc import IntegrityError

from app.core.errors import constraint_name
from app.models.products import Product, StockMovement
from app.repositories.base import Repository


class ProductRepository(Repository[Product]):
    """Products that are not deleted."""

    model: ClassVar[type[Product]] = Product

    def select(self) -> Select[tuple[Product]]:
        """Deleted products are never found; orders keep a copy of what they need."""
        return super().select().where(Product.deleted_at.is_(None))

    def matching(self, filters: Mapping[str, Any], tsquery: str | None) -> Select[tuple[Product]]:
        """The statement of a list: `filters` by the names of its parameters, `tsquery` for `q`."""
        statement = self.select()
        if tsquery is not None:
            statement = statement.where(Product.search.op("@@")(cast(literal(tsquery), TSQUERY)))
        for name, value in filters.items():
            statement = statement.where(FILTERS[name](value))
        return statement

    async def slugs_like(self, base: str) -> set[str]:
        """The slugs in use that are `base` or `base` with a number behind it."""
        found = select(Product.slug).where(
            Product.deleted_at.is_(None), Product.slug.regexp_match(f"^{base}(-[0-9]+)?$")
        )
        return set((await self.session.execute(found)).scalars())

    async def wait_for_slugs(self, base: str) -> None:
        """Wait for the others that make a slug from `base`, and keep them waiting until the commit."""
        principal = self.session.principal
        key = f"slug {principal.organization_id if principal else None} {base}"
        await self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))

    async def add_unless_slug_taken(self, product: Product) -> bool:
        """Insert a product; False, and nothing done, when somebody took its slug meanwhile."""
        try:
            async with self.session.begin_nested():
                await self.add(product)
        except IntegrityError as error:
            if constraint_name(error) != "products_slug":
                raise
            return False
        return True

    async def change(
        self, product_id: UUID, version: int | None, values: Mapping[str, Any]
    ) -> Product | None:
        """Change a product if it has this version (None: any); None when it has another or is gone."""
        statement = (
            update(Product)
            .where(Product.id == product_id, Product.deleted_at.is_(None))
            .values(**values, updated_at=func.clock_timestamp())
            .returning(Product)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        if version is not None:
            statement = statement.where(Product.version == version).values(version=version + 1)
        changed: Product | None = (await self.session.execute(statement)).scalar_one_or_none()
        return changed

    async def mark_deleted(self, product_id: UUID) -> Product | None:
        """Delete a product softly; None when there is none."""
        values = {"deleted_at": func.now(), "status": "archived", "version": Product.version + 1}
        return await self.change(product_id, None, values)


class MovementRepository(Repository[StockMovement]):
    """The history of stock."""

    model: ClassVar[type[StockMovement]] = StockMovement

    def of_product(self, product_id: UUID) -> Select[tuple[StockMovement]]:
        """The statement of a product's movements."""
        return self.select().where(StockMovement.product_id == product_id)


def terms_vector(terms: list[str]) -> ColumnElement[str]:
    """Search terms as the value of a `tsvector` column."""
    return func.array_to_tsvector(cast(terms, ARRAY(Text)))


def _is_in_stock(wanted: bool) -> ColumnElement[bool]:
    is_orderable = or_(~Product.track_inventory, Product.allow_backorder, Product.stock > Product.reserved)
    return is_orderable if wanted else ~is_orderable


FILTERS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "status": Product.status.in_,
    "category": lambda value: Product.category == value,
    "sku": lambda value: func.upper(Product.sku) == func.upper(value),
    "slug": lambda value: Product.slug == value,
    "price_min": lambda value: Product.price >= value,
    "price_max": lambda value: Product.price <= value,
    "in_stock": _is_in_stock,
}
"""The condition of each parameter of the list, by its name."""
