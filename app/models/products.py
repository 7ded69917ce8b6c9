"""Tables of products: the catalogue, its pictures, and the stock that orders hold and move."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Created,
    Identified,
    Json,
    Minor,
    Owned,
    Timestamps,
    cur,
    minor,
    owned_reference,
)

MAX_STOCK = 1_000_000_000
"""The largest quantity that is held of a product, or moved by one act."""

IS_LIVE = text("deleted_at IS NULL")
"""Deletion is soft; what is unique is unique among the products that are still there."""


class Product(Identified, Timestamps, Owned, Base):
    """Something that a brand sells, with the fields that personalise it and the pieces on hand.

    Quantities: `stock` on hand, `reserved` by unpaid orders; `available` is the difference. Only the stock
    service changes them.
    """

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(slug) <= 80", name="slug_format"),
        CheckConstraint("sku ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$'", name="sku_format"),
        CheckConstraint("char_length(external_ref) <= 200", name="external_ref_length"),
        CheckConstraint("char_length(description) <= 20000", name="description"),
        CheckConstraint("char_length(category) BETWEEN 1 AND 80", name="category"),
        minor("price"),
        cur("currency"),
        CheckConstraint("tax_category ~ '^[a-z0-9_]{1,40}$'", name="tax_category"),
        CheckConstraint("weight_g BETWEEN 0 AND 1000000", name="weight_g"),
        CheckConstraint(
            "jsonb_typeof(options) = 'array' AND octet_length(options::text) <= 65536", name="options"
        ),
        CheckConstraint(
            "jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384", name="metadata"
        ),
        CheckConstraint("status IN ('draft', 'active', 'archived')", name="status"),
        CheckConstraint("stock BETWEEN -1000000000 AND 1000000000", name="stock"),
        CheckConstraint("reserved BETWEEN 0 AND 1000000000", name="reserved"),
        CheckConstraint("low_stock_threshold BETWEEN 0 AND 1000000000", name="low_stock_threshold"),
        CheckConstraint("lead_time_days BETWEEN 0 AND 365", name="lead_time_days"),
        CheckConstraint(
            "NOT track_inventory OR allow_backorder OR (stock >= 0 AND reserved <= stock)",
            name="never_oversold",
        ),
        Index("products_sku", "organization_id", text("upper(sku)"), unique=True, postgresql_where=IS_LIVE),
        Index(
            "products_external_ref", "organization_id", "external_ref", unique=True, postgresql_where=IS_LIVE
        ),
        Index("products_slug", "organization_id", "slug", unique=True, postgresql_where=IS_LIVE),
        Index(
            "products_list",
            "organization_id",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=IS_LIVE,
        ),
        Index(
            "products_category",
            "organization_id",
            "category",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=IS_LIVE,
        ),
        Index("products_search", "search", postgresql_using="gin"),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    name: Mapped[str]
    slug: Mapped[str]
    sku: Mapped[str | None]
    external_ref: Mapped[str | None]
    description: Mapped[str | None]
    category: Mapped[str | None]
    price: Mapped[Minor]
    currency: Mapped[str]
    tax_category: Mapped[str] = mapped_column(server_default="standard", default="standard")
    weight_g: Mapped[int | None]
    options: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    metadata_: Mapped[Json] = mapped_column("metadata")
    status: Mapped[str] = mapped_column(server_default="draft", default="draft")
    track_inventory: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    allow_backorder: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    stock: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    reserved: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    low_stock_threshold: Mapped[int | None]
    lead_time_days: Mapped[int | None]
    # Only the index is asked for it, so it is never read back.
    search: Mapped[str] = mapped_column(
        TSVECTOR, server_default=text("''"), deferred=True, deferred_raiseload=True
    )
    version: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    deleted_at: Mapped[datetime | None]

    @property
    def available(self) -> int | None:
        """The pieces that may still be ordered; None when they are not counted. Below zero: on back order."""
        return self.stock - self.reserved if self.track_inventory else None


class ProductImage(Identified, Created, Owned, Base):
    """A picture of a product; the lowest position is the cover.

    `file_id` names a stored file; its foreign key comes with the table of files.
    """

    __tablename__ = "product_images"
    __table_args__ = (
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("char_length(alt) <= 300", name="alt"),
        UniqueConstraint("organization_id", "file_id", name="product_images_file"),
        owned_reference(["product_id"], "products", ["id"], ondelete="CASCADE"),
        Index("product_images_product", "organization_id", "product_id", "position", "id"),
    )

    product_id: Mapped[UUID]
    file_id: Mapped[UUID]
    position: Mapped[int]
    alt: Mapped[str | None]


class StockReservation(Created, Owned, Base):
    """What an order holds, or held, of a product: one row for each pair, whatever its lines are."""

    __tablename__ = "stock_reservations"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 1 AND 1000000000", name="quantity"),
        CheckConstraint("status IN ('held', 'committed', 'released')", name="status"),
        CheckConstraint("(status = 'held') = (closed_at IS NULL)", name="closed"),
        owned_reference(["order_id"], "orders", ["id"]),
        owned_reference(["product_id"], "products", ["id"]),
        Index(
            "stock_reservations_held",
            "organization_id",
            "product_id",
            postgresql_where=text("status = 'held'"),
        ),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    quantity: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="held", default="held")
    closed_at: Mapped[datetime | None] = mapped_column(sort_order=91)


class StockMovement(Identified, Created, Owned, Base):
    """One change of a product's quantities, with what they were afterwards; append-only by a trigger."""

    __tablename__ = "stock_movements"
    __table_args__ = (
        CheckConstraint(
            "reason IN ('reserve', 'release', 'commit', 'restock', 'adjust', 'import')", name="reason"
        ),
        CheckConstraint(
            "actor_type IN ('user', 'api_key', 'stripe', 'customer', 'system')", name="actor_type"
        ),
        CheckConstraint("char_length(note) <= 500", name="note"),
        CheckConstraint("delta_stock <> 0 OR delta_reserved <> 0", name="moves"),
        owned_reference(["product_id"], "products", ["id"]),
        owned_reference(["order_id"], "orders", ["id"]),
        Index(
            "stock_movements_list", "organization_id", "product_id", text("created_at DESC"), text("id DESC")
        ),
    )

    product_id: Mapped[UUID]
    order_id: Mapped[UUID | None]
    refund_id: Mapped[UUID | None]
    reason: Mapped[str]
    delta_stock: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    delta_reserved: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    stock_after: Mapped[int]
    reserved_after: Mapped[int]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    note: Mapped[str | None]


class OrderItemFile(Owned, Base):
    """A picture that a buyer gave for an `image` option; held for ever once it is ordered.

    `file_id` names a stored file; its foreign key comes with the table of files.
    """

    __tablename__ = "order_item_files"
    __table_args__ = (owned_reference(["order_item_id"], "order_items", ["id"], ondelete="CASCADE"),)

    order_item_id: Mapped[UUID] = mapped_column(primary_key=True)
    option_code: Mapped[str] = mapped_column(primary_key=True)
    file_id: Mapped[UUID]
