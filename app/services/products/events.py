"""What is told of products: changes of the catalogue, stock that runs out or does not add up."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission
from app.models.products import Product
from app.repositories.products import Level


@dataclass(frozen=True, kw_only=True)
class ProductEvent(Event):
    """What every event of a product says: `price` in minor units, `available` null when it is not counted."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.products_read
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("product", "product_id")
    audit: ClassVar[AuditSpec | str] = (
        "Business as usual: the log of events and the stock's movements keep it."
    )

    product_id: UUID
    sku: str | None
    slug: str
    name: str
    status: str
    price: int
    currency: str
    stock: int
    reserved: int
    available: int | None
    version: int


@dataclass(frozen=True, kw_only=True)
class ProductCreated(ProductEvent):
    """A product was added to the catalogue."""

    type: ClassVar[str] = "product.created"
    description: ClassVar[str] = "A product was added to the catalogue."


@dataclass(frozen=True, kw_only=True)
class ProductUpdated(ProductEvent):
    """Fields of a product were changed; `changed` names them."""

    type: ClassVar[str] = "product.updated"
    description: ClassVar[str] = "Fields of a product were changed; `changed` names them."

    changed: list[str]


@dataclass(frozen=True, kw_only=True)
class ProductDeleted(ProductEvent):
    """A product was taken out of the catalogue."""

    type: ClassVar[str] = "product.deleted"
    description: ClassVar[str] = "A product was taken out of the catalogue."


@dataclass(frozen=True, kw_only=True)
class ProductStockLow(ProductEvent):
    """What is available fell to the threshold or below."""

    type: ClassVar[str] = "product.stock_low"
    description: ClassVar[str] = "What is available of a product fell to its threshold or below."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    threshold: int


@dataclass(frozen=True, kw_only=True)
class ProductOutOfStock(ProductEvent):
    """Nothing is available any more."""

    type: ClassVar[str] = "product.out_of_stock"
    description: ClassVar[str] = "Nothing of a product is available any more."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class StockDriftDetected(Event):
    """A product's `reserved` is not the sum of what orders hold: an alert for the operators."""

    type: ClassVar[str] = "stock.drift_detected"
    description: ClassVar[str] = "A product's reserved quantity is not the sum of what orders hold."
    audience: ClassVar[Audience] = "internal"
    subject: ClassVar[tuple[str, str] | None] = ("product", "product_id")
    audit: ClassVar[AuditSpec | str] = "Nobody acted: it is an alert for the operators."

    product_id: UUID
    reserved: int
    held_total: int


def facts_of(product: Product | Level) -> dict[str, Any]:
    """What every event of a product says about it."""
    return {
        "product_id": product.id,
        "sku": product.sku,
        "slug": product.slug,
        "name": product.name,
        "status": product.status,
        "price": product.price,
        "currency": product.currency,
        "stock": product.stock,
        "reserved": product.reserved,
        "available": product.available,
        "version": product.version,
    }
