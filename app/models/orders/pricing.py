"""What an order's price is made from besides products: taxes, shipping rates and discount codes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Minor, Owned, Timestamps, cur, minor, owned_reference
from app.models.orders.order import longest, one_of


class TaxRate(Owned, Base):
    """The rate of a tax category in a country or, with a `region`, in a part of it."""

    __tablename__ = "tax_rates"
    __table_args__ = (
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        longest("region", 40),
        CheckConstraint("tax_category ~ '^[a-z0-9_]{1,40}$'", name="tax_category"),
        CheckConstraint("rate_bps BETWEEN 0 AND 10000", name="rate_bps"),
    )

    country: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(primary_key=True, server_default="")
    tax_category: Mapped[str] = mapped_column(primary_key=True, server_default="standard")
    rate_bps: Mapped[int]


class ShippingRate(Owned, Base):
    """A way of shipping, with its price and the countries it goes to."""

    __tablename__ = "shipping_rates"
    __table_args__ = (
        CheckConstraint("code ~ '^[a-z0-9_-]{1,40}$'", name="code"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 120", name="name"),
        CheckConstraint("cardinality(countries) BETWEEN 1 AND 250", name="countries"),
        minor("amount"),
        minor("free_from"),
        cur(),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    countries: Mapped[list[str]] = mapped_column(ARRAY(Text))
    amount: Mapped[Minor]
    free_from: Mapped[Minor | None]
    currency: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    position: Mapped[int] = mapped_column(server_default=text("0"))


class DiscountCode(Identified, Timestamps, Owned, Base):
    """A code that lowers an order's price; `redeemed` is counted under its row lock."""

    __tablename__ = "discount_codes"
    __table_args__ = (
        CheckConstraint("code ~ '^[A-Z0-9_-]{3,40}$'", name="text"),
        one_of("kind", ("percent", "fixed", "free_shipping")),
        minor("value"),
        cur(),
        minor("min_subtotal"),
        CheckConstraint("max_redemptions >= 1", name="max_redemptions"),
        CheckConstraint("redeemed >= 0", name="redeemed_count"),
        CheckConstraint("max_per_customer >= 1", name="max_per_customer"),
        UniqueConstraint("organization_id", "code", name="discount_codes_code"),
        CheckConstraint(
            "CASE kind WHEN 'percent' THEN value BETWEEN 1 AND 10000"
            " WHEN 'fixed' THEN value > 0 AND currency IS NOT NULL ELSE value = 0 END",
            name="value",
        ),
        CheckConstraint("min_subtotal = 0 OR currency IS NOT NULL", name="minimum"),
        CheckConstraint("max_redemptions IS NULL OR redeemed <= max_redemptions", name="redeemed"),
    )

    code: Mapped[str]
    kind: Mapped[str]
    value: Mapped[Minor] = mapped_column(server_default=text("0"))
    currency: Mapped[str | None]
    min_subtotal: Mapped[Minor] = mapped_column(server_default=text("0"))
    max_redemptions: Mapped[int | None]
    redeemed: Mapped[int] = mapped_column(server_default=text("0"))
    max_per_customer: Mapped[int | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default=text("1"))


class DiscountRedemption(Owned, Base):
    """The code that an order used; given back (`released_at`) when the order is cancelled or expires."""

    __tablename__ = "discount_redemptions"
    __table_args__ = (
        minor("amount"),
        owned_reference(["order_id"], "orders", ["id"], ondelete="CASCADE"),
        owned_reference(["discount_id"], "discount_codes", ["id"]),
        Index(
            "discount_redemptions_customer",
            "organization_id",
            "discount_id",
            "customer_email_canonical",
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    discount_id: Mapped[UUID]
    customer_email_canonical: Mapped[str | None]
    amount: Mapped[Minor]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    released_at: Mapped[datetime | None]
