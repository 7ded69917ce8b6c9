"""The tables of prices, of customers at Stripe, and of what an organisation subscribed to and pays with."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Minor, Owned, Reference, Timestamps, cur, minor

LIVE = ("incomplete", "trialing", "active", "past_due", "unpaid", "paused")
"""The states of a subscription that has not ended; an organisation has one of them at most."""

LIVE_SQL = "status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')"


class PlanPrice(Identified, Reference, Base):
    """What a plan costs in a currency and per interval, and which price of Stripe stands for it."""

    __tablename__ = "plan_prices"
    __table_args__ = (
        cur(),
        minor("unit_amount"),
        CheckConstraint("billing_interval IN ('month', 'year')", name="billing_interval"),
        UniqueConstraint("lookup_key"),
        UniqueConstraint("stripe_price_id"),
        Index(
            "plan_prices_one_active",
            "plan_code",
            "currency",
            "billing_interval",
            unique=True,
            postgresql_where=text("is_active"),
        ),
    )

    plan_code: Mapped[str] = mapped_column(ForeignKey("plans.code"))
    currency: Mapped[str]
    billing_interval: Mapped[str]
    unit_amount: Mapped[Minor]
    lookup_key: Mapped[str]
    stripe_price_id: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    drift: Mapped[str | None]
    checked_at: Mapped[datetime | None]


class BillingCustomer(Timestamps, Owned, Base):
    """Who pays for an organisation; the row is the lock of everything that it subscribes to."""

    __tablename__ = "billing_customers"
    __table_args__ = (cur(),)

    stripe_customer_id: Mapped[str | None]
    email: Mapped[str | None]
    name: Mapped[str | None]
    address: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    tax_id_type: Mapped[str | None]
    tax_id: Mapped[str | None]
    currency: Mapped[str | None]
    livemode: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    has_had_trial: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    synced_at: Mapped[datetime | None]
    sync_error: Mapped[str | None]


class BillingCheckout(Identified, Timestamps, Owned, Base):
    """A hosted page on which a plan is bought; one is open at most."""

    __tablename__ = "billing_checkouts"
    __table_args__ = (
        CheckConstraint("status IN ('creating', 'open', 'complete', 'expired', 'failed')", name="status"),
        UniqueConstraint("organization_id", "stripe_session_id", name="billing_checkouts_session"),
        Index(
            "billing_checkouts_one_open",
            "organization_id",
            unique=True,
            postgresql_where=text("status IN ('creating', 'open')"),
        ),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    price_id: Mapped[UUID] = mapped_column(ForeignKey("plan_prices.id"))
    status: Mapped[str] = mapped_column(server_default="creating", default="creating")
    stripe_session_id: Mapped[str | None]
    url: Mapped[str | None]
    expires_at: Mapped[datetime | None]


class Subscription(Identified, Timestamps, Owned, Base):
    """What an organisation subscribed to, as Stripe has it."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(
            "status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', "
            "'paused', 'canceled')",
            name="status",
        ),
        UniqueConstraint("organization_id", "stripe_subscription_id", name="subscriptions_stripe"),
        Index("subscriptions_one_live", "organization_id", unique=True, postgresql_where=text(LIVE_SQL)),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    plan_code: Mapped[str] = mapped_column(ForeignKey("plans.code"))
    price_id: Mapped[UUID] = mapped_column(ForeignKey("plan_prices.id"))
    status: Mapped[str]
    current_period_start: Mapped[datetime | None]
    current_period_end: Mapped[datetime | None]
    meter_anchor_at: Mapped[datetime]
    cancel_at_period_end: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    cancel_at: Mapped[datetime | None]
    canceled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    trial_start: Mapped[datetime | None]
    trial_end: Mapped[datetime | None]
    pending_price_id: Mapped[UUID | None] = mapped_column(ForeignKey("plan_prices.id"))
    pending_effective_at: Mapped[datetime | None]
    pending_update_expires_at: Mapped[datetime | None]
    past_due_since: Mapped[datetime | None]
    stripe_subscription_id: Mapped[str]
    stripe_item_id: Mapped[str | None]
    stripe_schedule_id: Mapped[str | None]
    latest_stripe_invoice_id: Mapped[str | None]
    synced_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)


class PaymentMethod(Identified, Created, Owned, Base):
    """A card, mandate or account to pay with; its numbers are at Stripe only."""

    __tablename__ = "payment_methods"
    __table_args__ = (
        CheckConstraint("type IN ('card', 'paypal', 'sepa')", name="type"),
        CheckConstraint("last4 ~ '^[0-9A-Z]{4}$'", name="last4"),
        CheckConstraint("expiry_month BETWEEN 1 AND 12", name="expiry_month"),
        CheckConstraint("expiry_year BETWEEN 2000 AND 2100", name="expiry_year"),
        UniqueConstraint("organization_id", "stripe_payment_method_id", name="payment_methods_stripe"),
        Index(
            "payment_methods_one_default",
            "organization_id",
            unique=True,
            postgresql_where=text("is_default AND detached_at IS NULL"),
        ),
        Index(
            "payment_methods_fingerprint",
            "organization_id",
            "type",
            "fingerprint",
            unique=True,
            postgresql_where=text("detached_at IS NULL"),
        ),
        # Read by the check of trials alone, which asks about every organisation.
        Index("payment_methods_trials", "fingerprint", postgresql_where=text("fingerprint IS NOT NULL")),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    type: Mapped[str]
    stripe_payment_method_id: Mapped[str]
    fingerprint: Mapped[str | None]
    last4: Mapped[str | None]
    brand: Mapped[str | None]
    expiry_month: Mapped[int | None] = mapped_column(SmallInteger)
    expiry_year: Mapped[int | None] = mapped_column(SmallInteger)
    email: Mapped[str | None]
    mandate_reference: Mapped[str | None]
    is_default: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    detached_at: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]
