"""The lines of an order, with the product as it was when it was bought."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Json, Minor, Owned, minor, owned_reference


class OrderItem(Identified, Owned, Base):
    """One line. Later changes of the product never reach it.

    The foreign key of `design_id, design_version` comes with the migration that makes `design_versions`.
    """

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("position >= 0", name="place"),
        minor("unit_price"),
        CheckConstraint("quantity BETWEEN 1 AND 100000", name="quantity"),
        minor("discount_amount"),
        CheckConstraint("tax_rate_bps BETWEEN 0 AND 10000", name="tax_rate_bps"),
        minor("tax_amount"),
        minor("total_amount"),
        minor("refunded_amount"),
        UniqueConstraint("organization_id", "order_id", "position", name="order_items_position"),
        owned_reference(["order_id"], "orders", ["id"], ondelete="CASCADE"),
        owned_reference(["product_id"], "products", ["id"]),
        CheckConstraint("discount_amount <= unit_price * quantity", name="discount"),
        CheckConstraint("refunded_amount <= total_amount", name="refunded"),
        CheckConstraint(
            "refunded_quantity BETWEEN 0 AND quantity AND returned_quantity BETWEEN 0 AND quantity",
            name="given_back",
        ),
        CheckConstraint(
            "restocked_quantity BETWEEN 0 AND quantity AND fulfilled_quantity BETWEEN 0 AND quantity",
            name="moved",
        ),
        Index("order_items_product", "organization_id", "product_id", "order_id"),
    )

    order_id: Mapped[UUID]
    position: Mapped[int]
    product_id: Mapped[UUID | None]
    design_id: Mapped[UUID | None]
    design_version: Mapped[int | None]
    sku: Mapped[str | None]
    name: Mapped[str]
    product_snapshot: Mapped[dict[str, Any]] = mapped_column(JSONB)
    customization: Mapped[Json]
    customization_sha256: Mapped[str | None]
    is_personalised: Mapped[bool] = mapped_column(server_default=text("false"))
    unit_price: Mapped[Minor]
    quantity: Mapped[int]
    discount_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    tax_rate_bps: Mapped[int] = mapped_column(server_default=text("0"))
    tax_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    total_amount: Mapped[Minor]
    refunded_quantity: Mapped[int] = mapped_column(server_default=text("0"))
    refunded_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    returned_quantity: Mapped[int] = mapped_column(server_default=text("0"))
    restocked_quantity: Mapped[int] = mapped_column(server_default=text("0"))
    fulfilled_quantity: Mapped[int] = mapped_column(server_default=text("0"))
