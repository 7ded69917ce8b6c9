"""The tables of what is heard from Stripe and said to it: inbox, outbox, whose ids are whose, differences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, desc, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Owned, System

ENDPOINTS = ("/api/stripe/webhook", "/api/webhooks/stripe", "backfill")
"""How an event came to us."""


class StripeEvent(System, Base):
    """The inbox: one row per event of Stripe, however often it was delivered."""

    __tablename__ = "stripe_events"
    __table_args__ = (
        CheckConstraint(
            "endpoint IN ('/api/stripe/webhook', '/api/webhooks/stripe', 'backfill')", name="endpoint"
        ),
        CheckConstraint("status IN ('pending', 'done', 'skipped', 'dead')", name="status"),
        Index("stripe_events_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
        Index("stripe_events_list", desc("received_at"), desc("id")),
        Index("stripe_events_object", "object_id", "stripe_created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    api_version: Mapped[str | None]
    livemode: Mapped[bool]
    stripe_created_at: Mapped[datetime]
    object_type: Mapped[str | None]
    object_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    endpoint: Mapped[str]
    deliveries: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    processed_at: Mapped[datetime | None]


class StripeObject(Created, System, Base):
    """Which organisation an id of Stripe belongs to; it never changes hands."""

    __tablename__ = "stripe_objects"
    __table_args__ = (CheckConstraint("char_length(stripe_id) <= 255", name="stripe_id"),)

    stripe_id: Mapped[str] = mapped_column(primary_key=True)
    object_type: Mapped[str]
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    local_id: Mapped[UUID | None]


class StripeCommand(Identified, Created, Owned, Base):
    """The outbox: what Stripe is to do. The id is Stripe's idempotency key."""

    __tablename__ = "stripe_commands"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'sent', 'succeeded', 'failed')", name="status"),
        # The sweep looks at the commands of every organisation.
        Index(
            "stripe_commands_due", "next_attempt_at", postgresql_where=text("status IN ('pending', 'sent')")
        ),
        Index("stripe_commands_subject", "organization_id", "subject_id", desc("created_at")),
    )

    kind: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    lease_until: Mapped[datetime | None]
    first_sent_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    result_id: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    finished_at: Mapped[datetime | None]


class StripeDifference(Identified, System, Base):
    """What reconciliation found: one open row per kind and id of Stripe."""

    __tablename__ = "stripe_differences"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'repaired', 'ignored')", name="status"),
        Index(
            "stripe_differences_open",
            "kind",
            "stripe_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
    )

    kind: Mapped[str]
    stripe_id: Mapped[str]
    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="SET NULL"))
    local_ref: Mapped[str | None]
    expected: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actual: Mapped[dict[str, Any]] = mapped_column(JSONB)
    explanation: Mapped[str]
    repair: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="open", default="open")
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
