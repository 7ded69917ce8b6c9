"""Products as the rows of a CSV file, in the columns that an import reads."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, case, cast, select

from app.core.access import Principal
from app.core.database import Database
from app.models.products import Product
from app.repositories.copying import Export, cell, csv_parts, moment

PART = 500
MOST = 50_000

TEXTS = ("external_ref", "description", "category")
FLAGS = ("track_inventory", "allow_backorder")


def product_parts(
    database: Database, principal: Principal, *, part: int = PART, most: int = MOST
) -> AsyncIterator[bytes]:
    """The products that are not deleted as CSV, the newest first; at most `most`."""
    export = Export(_columns(), Product.created_at, Product.id, part, most)
    return csv_parts(database, principal, export)


def _columns() -> Select[Any]:
    """The columns of the file, in its order; the last five are not imported."""
    columns: list[Any] = [
        Product.sku,
        _text("name"),
        Product.slug,
        *(_text(name) for name in TEXTS),
        Product.price,
        Product.currency,
        Product.tax_category,
        Product.weight_g,
        Product.status,
        *(cast(getattr(Product, name), Text).label(name) for name in FLAGS),
        Product.stock,
        Product.low_stock_threshold,
        Product.lead_time_days,
        Product.options,
        Product.metadata_.label("metadata"),
        Product.id,
        Product.reserved,
        case((Product.track_inventory, Product.stock - Product.reserved)).label("available"),
        moment(Product.created_at).label("created_at"),
        moment(Product.updated_at).label("updated_at"),
    ]
    return select(*columns).where(Product.deleted_at.is_(None))


def _text(name: str) -> ColumnElement[str]:
    return cell(cast(getattr(Product, name), Text)).label(name)
