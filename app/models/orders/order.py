"""An order: where the goods are, where the money is, who buys, and what the price is made of."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Json, Minor, Owned, Timestamps, cur, minor

ORDER_STATUSES = (
    "draft",
    "pending",
    "confirmed",
    "processing",
    "shipped",
    "delivered",
    "cancelled",
    "expired",
    "returned",
)
"""Where the goods are."""

PAYMENT_STATUSES = (
    "unpaid",
    "pending",
    "authorized",
    "paid",
    "failed",
    "partially_refunded",
    "refunded",
    "disputed",
    "charged_back",
)
"""Where the money is."""

HOLD_REASONS = (
    "oversold",
    "amount_mismatch",
    "currency_mismatch",
    "dispute",
    "payment_lapsed",
    "refund_failed",
    "manual",
)
"""What stops fulfilment."""


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """The CHECK of a column that holds one word of a closed list."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def longest(column: str, characters: int) -> CheckConstraint:
    """The CHECK of a text's length."""
    return CheckConstraint(f"char_length({column}) <= {characters}", name=column)


class Order(Identified, Timestamps, Owned, Base):
    """One order. Its amounts fit together by CHECK, its states move along `order_transitions` by trigger."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("order_number ~ '^[A-Z0-9]{1,8}-[0-9]{4}-[0-9]{6,}$'", name="order_number"),
        one_of("channel", ("dashboard", "api", "payment_link", "import")),
        one_of("status", ORDER_STATUSES),
        one_of("payment_status", PAYMENT_STATUSES),
        one_of("hold_reason", HOLD_REASONS),
        cur(),
        minor("subtotal"),
        minor("discount_amount"),
        minor("shipping_amount"),
        minor("shipping_tax_amount"),
        minor("tax_amount"),
        minor("total_amount"),
        minor("amount_paid"),
        minor("amount_refunded"),
        minor("amount_refund_pending"),
        CheckConstraint("jsonb_typeof(pricing) = 'object'", name="pricing"),
        longest("customer_email", 254),
        longest("customer_name", 200),
        longest("customer_phone", 40),
        longest("carrier", 80),
        longest("tracking_number", 100),
        CheckConstraint(
            "tracking_url ~ '^https://' AND char_length(tracking_url) <= 2048", name="tracking_url"
        ),
        longest("notes", 2000),
        longest("internal_notes", 5000),
        CheckConstraint(
            "jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384", name="metadata"
        ),
        one_of("payment_method", ("checkout", "manual", "none")),
        longest("cancel_reason", 500),
        one_of("withdrawal_right", ("standard", "partial", "excluded_personalised")),
        UniqueConstraint("organization_id", "order_number", name="orders_number"),
        UniqueConstraint("organization_id", "stripe_checkout_session_id", name="orders_checkout_session"),
        CheckConstraint(
            "total_amount = subtotal - discount_amount + shipping_amount"
            " + CASE WHEN prices_include_tax THEN 0 ELSE tax_amount END",
            name="total",
        ),
        CheckConstraint("discount_amount <= subtotal AND shipping_tax_amount <= tax_amount", name="parts"),
        CheckConstraint(
            "amount_refunded <= amount_paid AND amount_refund_pending <= amount_paid", name="refunded"
        ),
        CheckConstraint(
            "status IN ('draft', 'cancelled') OR (order_number IS NOT NULL AND placed_at IS NOT NULL)",
            name="placed",
        ),
        CheckConstraint("(customer_email IS NULL) = (customer_email_canonical IS NULL)", name="email"),
        Index("orders_list", "organization_id", text("created_at DESC"), text("id DESC")),
        Index("orders_status", "organization_id", "status", text("created_at DESC"), text("id DESC")),
        Index(
            "orders_payment_status",
            "organization_id",
            "payment_status",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index(
            "orders_customer",
            "organization_id",
            "customer_email_canonical",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index("orders_due", "reservation_expires_at", postgresql_where=text("status = 'pending'")),
        Index("orders_search", "search", postgresql_using="gin"),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    order_number: Mapped[str | None]
    channel: Mapped[str] = mapped_column(server_default="dashboard")
    status: Mapped[str] = mapped_column(server_default="pending")
    payment_status: Mapped[str] = mapped_column(server_default="unpaid")
    hold_reason: Mapped[str | None]
    currency: Mapped[str]
    prices_include_tax: Mapped[bool]
    subtotal: Mapped[Minor]
    discount_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    shipping_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    shipping_tax_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    tax_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    total_amount: Mapped[Minor]
    amount_paid: Mapped[Minor] = mapped_column(server_default=text("0"))
    amount_refunded: Mapped[Minor] = mapped_column(server_default=text("0"))
    amount_refund_pending: Mapped[Minor] = mapped_column(server_default=text("0"))
    pricing: Mapped[Json]
    discount_code: Mapped[str | None]
    customer_email: Mapped[str | None]
    customer_email_canonical: Mapped[str | None]
    customer_name: Mapped[str | None]
    customer_phone: Mapped[str | None]
    shipping_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    billing_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    shipping_code: Mapped[str | None]
    carrier: Mapped[str | None]
    tracking_number: Mapped[str | None]
    tracking_url: Mapped[str | None]
    notes: Mapped[str | None]
    internal_notes: Mapped[str | None]
    metadata_: Mapped[Json] = mapped_column("metadata")
    payment_method: Mapped[str] = mapped_column(server_default="checkout")
    payment_failure_code: Mapped[str | None]
    stripe_checkout_session_id: Mapped[str | None]
    checkout_url: Mapped[str | None]
    checkout_expires_at: Mapped[datetime | None]
    reservation_expires_at: Mapped[datetime | None]
    placed_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    shipped_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    withdrawal_right: Mapped[str] = mapped_column(server_default="standard")
    # Only the index is asked for it, so it is never read back.
    search: Mapped[str] = mapped_column(
        TSVECTOR, server_default=text("''"), deferred=True, deferred_raiseload=True
    )
    version: Mapped[int] = mapped_column(server_default=text("1"))
