"""What was paid for an order, and what was given back."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Minor, Owned, Timestamps, cur, minor, owned_reference
from app.models.orders.order import longest, one_of


class OrderPayment(Identified, Timestamps, Owned, Base):
    """One PaymentIntent of Stripe's, or one receipt by hand; at most one of an order is in force."""

    __tablename__ = "order_payments"
    __table_args__ = (
        one_of("method", ("stripe", "bank_transfer", "cash", "other")),
        longest("reference", 200),
        minor("amount", minimum=1),
        cur(),
        one_of("status", ("authorized", "applied", "unapplied", "voided")),
        one_of("unapplied_reason", ("amount_mismatch", "currency_mismatch", "duplicate")),
        minor("amount_refunded"),
        minor("amount_refund_pending"),
        UniqueConstraint("organization_id", "stripe_payment_intent_id", name="order_payments_intent"),
        owned_reference(["order_id"], "orders", ["id"]),
        CheckConstraint("(status = 'unapplied') = (unapplied_reason IS NOT NULL)", name="unapplied"),
        CheckConstraint("(method = 'stripe') = (stripe_payment_intent_id IS NOT NULL)", name="stripe"),
        CheckConstraint("amount_refunded <= amount AND amount_refund_pending <= amount", name="refunded"),
        Index("order_payments_order", "organization_id", "order_id", "id"),
        Index(
            "order_payments_one_applied",
            "organization_id",
            "order_id",
            unique=True,
            postgresql_where=text("status IN ('authorized', 'applied')"),
        ),
    )

    order_id: Mapped[UUID]
    method: Mapped[str]
    stripe_payment_intent_id: Mapped[str | None]
    reference: Mapped[str | None]
    amount: Mapped[Minor]
    currency: Mapped[str]
    status: Mapped[str]
    unapplied_reason: Mapped[str | None]
    amount_refunded: Mapped[Minor] = mapped_column(server_default=text("0"))
    amount_refund_pending: Mapped[Minor] = mapped_column(server_default=text("0"))
    received_at: Mapped[datetime | None]


class Refund(Identified, Timestamps, Owned, Base):
    """Money on its way back to the buyer, with the lines and tax it stands for."""

    __tablename__ = "refunds"
    __table_args__ = (
        minor("amount"),
        cur(),
        one_of(
            "reason",
            (
                "requested_by_customer",
                "duplicate",
                "fraudulent",
                "goodwill",
                "returned",
                "cancelled",
                "oversold",
                "order_closed",
                "withdrawal",
                "other",
            ),
        ),
        longest("note", 500),
        one_of("source", ("api", "auto", "stripe")),
        one_of("status", ("pending", "requires_action", "succeeded", "failed", "canceled")),
        minor("shipping_amount"),
        UniqueConstraint("organization_id", "stripe_refund_id", name="refunds_stripe"),
        owned_reference(["order_id"], "orders", ["id"]),
        owned_reference(["payment_id"], "order_payments", ["id"]),
        Index("refunds_order", "organization_id", "order_id", text("created_at DESC"), text("id DESC")),
    )

    order_id: Mapped[UUID]
    payment_id: Mapped[UUID]
    amount: Mapped[Minor]
    currency: Mapped[str]
    reason: Mapped[str]
    note: Mapped[str | None]
    source: Mapped[str] = mapped_column(server_default="api")
    status: Mapped[str] = mapped_column(server_default="pending")
    lines: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    shipping_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    tax_groups: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    is_return: Mapped[bool] = mapped_column(server_default=text("false"))
    restock: Mapped[bool] = mapped_column(server_default=text("false"))
    reference: Mapped[str | None]
    stripe_refund_id: Mapped[str | None]
    failure_reason: Mapped[str | None]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
