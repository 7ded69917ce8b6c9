"""Tables of outgoing webhooks: endpoints, their secrets, deliveries and attempts."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Timestamps, owned_reference

ZERO = text("0")


class WebhookEndpoint(Identified, Timestamps, Owned, Base):
    """An address of a customer's, what it is told, and how well that went lately."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("char_length(url) <= 2048", name="url"),
        CheckConstraint("char_length(url_host) <= 255", name="url_host"),
        CheckConstraint("char_length(description) <= 200", name="description"),
        CheckConstraint("cardinality(events) BETWEEN 1 AND 100", name="events"),
        CheckConstraint("status IN ('active', 'paused', 'disabled')", name="status"),
        CheckConstraint("disabled_reason IN ('failing', 'gone', 'plan_limit')", name="disabled_reason"),
        CheckConstraint("(status = 'disabled') = (disabled_reason IS NOT NULL)", name="disabled"),
        CheckConstraint("circuit IN ('closed', 'open', 'half_open')", name="circuit"),
        CheckConstraint("source IN ('user', 'zapier')", name="source"),
        Index("webhook_endpoints_created_at", "organization_id", "created_at", "id"),
        Index("webhook_endpoints_status", "organization_id", "status"),
    )

    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    url: Mapped[str]
    url_host: Mapped[str]
    description: Mapped[str | None]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    status: Mapped[str] = mapped_column(server_default="active", default="active")
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    circuit: Mapped[str] = mapped_column(server_default="closed", default="closed")
    circuit_until: Mapped[datetime | None]
    """Until when it is left alone; of a half-open one, when its ping is given up for lost."""
    circuit_step: Mapped[int] = mapped_column(SmallInteger, server_default=ZERO, default=0)
    failure_count: Mapped[int] = mapped_column(Integer, server_default=ZERO, default=0)
    """Failed attempts in a row."""
    failing_since: Mapped[datetime | None]
    failed_since_count: Mapped[int] = mapped_column(Integer, server_default=ZERO, default=0)
    """Failed attempts and pings since then."""
    warned_step: Mapped[int] = mapped_column(SmallInteger, server_default=ZERO, default=0)
    last_success_at: Mapped[datetime | None]
    last_triggered_at: Mapped[datetime | None]
    last_response_status: Mapped[int | None] = mapped_column(Integer)
    source: Mapped[str] = mapped_column(server_default="user", default="user")
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)


class WebhookSecret(Identified, Timestamps, Owned, Base):
    """What an endpoint's deliveries are signed with; an older one goes on for a while beside the new one."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (
        owned_reference(["endpoint_id"], "webhook_endpoints", ["id"], ondelete="CASCADE"),
        Index("webhook_secrets_endpoint", "organization_id", "endpoint_id", "created_at"),
    )

    endpoint_id: Mapped[UUID]
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime | None]
    """None: the current one."""


class WebhookDelivery(Identified, Timestamps, Owned, Base):
    """That an event goes to an endpoint. `created_at` is when the event happened, which orders them."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        owned_reference(["endpoint_id"], "webhook_endpoints", ["id"], ondelete="CASCADE"),
        UniqueConstraint("organization_id", "endpoint_id", "event_id"),
        CheckConstraint("char_length(event_type) <= 64", name="event_type"),
        CheckConstraint(
            "status IN ('pending', 'sending', 'retrying', 'held', 'succeeded', 'exhausted', 'cancelled')",
            name="status",
        ),
        CheckConstraint("char_length(last_error_code) <= 40", name="last_error_code"),
        Index("webhook_deliveries_list", "organization_id", "endpoint_id", "created_at", "id"),
        Index("webhook_deliveries_status", "organization_id", "endpoint_id", "status", "created_at", "id"),
        Index(
            "webhook_deliveries_held",
            "organization_id",
            "endpoint_id",
            "created_at",
            postgresql_where=text("status = 'held'"),
        ),
        Index(
            "webhook_deliveries_busy",
            "organization_id",
            "endpoint_id",
            "created_at",
            postgresql_where=text("status = 'held' AND next_attempt_at IS NOT NULL"),
        ),
        Index(
            "webhook_deliveries_due",
            "next_attempt_at",
            postgresql_where=text("status IN ('pending', 'sending', 'retrying')"),
        ),
        # For pruning; it cannot tempt a page of one endpoint to read those of all.
        Index("webhook_deliveries_created_at", "created_at", postgresql_using="brin"),
    )

    endpoint_id: Mapped[UUID]
    # No reference: the log is pruned by age.
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=ZERO, default=0)
    cycle_attempts: Mapped[int] = mapped_column(SmallInteger, server_default=ZERO, default=0)
    """Of the ten that it has; a retry by hand begins another ten."""
    last_response_status: Mapped[int | None] = mapped_column(Integer)
    last_error_code: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
    """Of one that is being sent: when that attempt is given up for lost. Of one that is held: since when it
    waits for other requests to the same endpoint; None where the endpoint itself is left alone."""
    lease_until: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class WebhookAttempt(Identified, Owned, Base):
    """One request to an endpoint; without a duration it is under way, or its worker died."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        owned_reference(["endpoint_id"], "webhook_endpoints", ["id"], ondelete="CASCADE"),
        owned_reference(["delivery_id"], "webhook_deliveries", ["id"], ondelete="CASCADE"),
        CheckConstraint("trigger IN ('auto', 'manual', 'ping', 'test')", name="trigger"),
        CheckConstraint("char_length(error_code) <= 40", name="error_code"),
        CheckConstraint("char_length(redirect_target) <= 300", name="redirect_target"),
        CheckConstraint("char_length(response_body) <= 4096", name="response_body"),
        Index("webhook_attempts_delivery", "organization_id", "delivery_id", "number"),
        Index("webhook_attempts_list", "organization_id", "endpoint_id", "started_at", "id"),
        Index("webhook_attempts_loose", "started_at", postgresql_where=text("delivery_id IS NULL")),
    )

    delivery_id: Mapped[UUID | None]
    endpoint_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(Integer)
    trigger: Mapped[str]
    started_at: Mapped[datetime]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    remote_ip: Mapped[IPv4Address | IPv6Address | None] = mapped_column(INET())
    response_status: Mapped[int | None] = mapped_column(Integer)
    error_code: Mapped[str | None]
    redirect_target: Mapped[str | None]
    retry_after_s: Mapped[int | None] = mapped_column(Integer)
    response_headers: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    response_body: Mapped[str | None]
