"""The tables of invoices and credit notes, of what is used, and of the revenue ledger."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.money import MAX_AMOUNT
from app.models.base import (
    Base,
    Created,
    Identified,
    Json,
    Minor,
    Owned,
    OwnedKept,
    Timestamps,
    cur,
    minor,
    owned_reference,
)


def signed_minor(column: str) -> CheckConstraint:
    """The CHECK of an amount in minor units that has a sign."""
    return minor(column, minimum=-MAX_AMOUNT)


class Invoice(Identified, Timestamps, OwnedKept, Base):
    """An invoice or a credit note. `order_id` and `refund_id` are plain ids, since orders go with a purge.

    A trigger keeps finalised documents as they are: those of the organisation's own series whole, mirrors of
    the payment provider's in their number and amounts.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint("kind IN ('subscription', 'order', 'credit_note')", name="kind"),
        CheckConstraint("status IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name="status"),
        cur(),
        *(minor(name) for name in ("subtotal", "tax", "amount", "amount_paid", "amount_remaining")),
        UniqueConstraint("organization_id", "kind", "invoice_number", name="invoices_number"),
        UniqueConstraint("organization_id", "stripe_invoice_id", name="invoices_stripe"),
        UniqueConstraint("organization_id", "refund_id", name="invoices_refund"),
        CheckConstraint("status = 'draft' OR invoice_number IS NOT NULL", name="numbered"),
        CheckConstraint("kind <> 'order' OR stripe_invoice_id IS NULL", name="own"),
        owned_reference(["credited_invoice_id"], "invoices", ["id"]),
        Index(
            "invoices_one_per_order",
            "organization_id",
            "order_id",
            unique=True,
            postgresql_where=text("kind = 'order'"),
        ),
        Index("invoices_list", "organization_id", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID | None]
    kind: Mapped[str]
    status: Mapped[str]
    invoice_number: Mapped[str | None]
    order_id: Mapped[UUID | None]
    refund_id: Mapped[UUID | None]
    credited_invoice_id: Mapped[UUID | None]
    currency: Mapped[str]
    subtotal: Mapped[Minor]
    tax: Mapped[Minor] = mapped_column(server_default=text("0"))
    amount: Mapped[Minor]
    amount_paid: Mapped[Minor] = mapped_column(server_default=text("0"))
    amount_remaining: Mapped[Minor] = mapped_column(server_default=text("0"))
    plan_name: Mapped[str | None]
    billing_period: Mapped[str | None]
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    attempt_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    last_payment_error: Mapped[str | None]
    due_at: Mapped[datetime | None]
    finalized_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    parties: Mapped[Json]
    tax_groups: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    stripe_invoice_id: Mapped[str | None]
    hosted_invoice_url: Mapped[str | None]
    pdf_file_id: Mapped[UUID | None]
    synced_at: Mapped[datetime | None]


class InvoiceLine(OwnedKept, Base):
    """One line of a document; it goes with its draft, and otherwise stays."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        signed_minor("unit_amount"),
        minor("discount_amount"),
        signed_minor("tax_amount"),
        signed_minor("total_amount"),
        owned_reference(["invoice_id"], "invoices", ["id"], ondelete="CASCADE"),
    )

    invoice_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    description: Mapped[str]
    quantity: Mapped[int] = mapped_column(Integer)
    unit_amount: Mapped[Minor]
    discount_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    tax_rate_bps: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tax_amount: Mapped[Minor] = mapped_column(server_default=text("0"))
    total_amount: Mapped[Minor]


class UsageEvent(Owned, Base):
    """One thing that was done and counted once, under the id of what was done."""

    __tablename__ = "usage_events"
    __table_args__ = (
        CheckConstraint("char_length(idempotency_key) BETWEEN 1 AND 255", name="idempotency_key"),
        CheckConstraint("quantity BETWEEN 1 AND 1000000000", name="quantity"),
        CheckConstraint("status IN ('reserved', 'counted', 'released')", name="status"),
        CheckConstraint("(status = 'reserved') = (expires_at IS NOT NULL)", name="expiry"),
        Index("usage_events_expired", "expires_at", postgresql_where=text("status = 'reserved'")),
    )

    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str]
    period: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    subject: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="counted")
    expires_at: Mapped[datetime | None]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UsageMetric(Owned, Base):
    """How much of a metric is used in a period; the row of the period `gauge` is a lock."""

    __tablename__ = "usage_metrics"
    __table_args__ = (CheckConstraint("value >= 0", name="value"),)

    metric_type: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    hard_limit: Mapped[int | None] = mapped_column(BigInteger)
    notified_pct: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RevenueEntry(Identified, Created, OwnedKept, Base):
    """One movement of money in the ledger; a trigger refuses every change and removal."""

    __tablename__ = "revenue_tracking"
    __table_args__ = (
        CheckConstraint(
            "source IN ('order', 'design_sale', 'custom', 'subscription', 'api_usage')", name="source"
        ),
        CheckConstraint(
            "account = CASE WHEN source IN ('subscription', 'api_usage') THEN 'platform' ELSE 'merchant' END",
            name="account",
        ),
        CheckConstraint(
            "entry_type IN"
            " ('charge', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'fee', 'adjustment')",
            name="entry_type",
        ),
        signed_minor("amount"),
        CheckConstraint("amount <> 0", name="amount"),
        cur(),
        UniqueConstraint("organization_id", "entry_type", "source_ref", name="revenue_tracking_once"),
        Index("revenue_tracking_list", "organization_id", text("recorded_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID | None]
    source: Mapped[str]
    account: Mapped[str]
    entry_type: Mapped[str]
    amount: Mapped[Minor]
    currency: Mapped[str]
    description: Mapped[str | None]
    source_ref: Mapped[str]
    stripe_payment_intent_id: Mapped[str | None]
    order_id: Mapped[UUID | None]
    invoice_id: Mapped[UUID | None]
    metadata_: Mapped[Json] = mapped_column("metadata")
    recorded_at: Mapped[datetime]
