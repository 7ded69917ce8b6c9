"""Tables of notifications: what people are told, what they want to be told, and how it reached them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Json, Personal, Timestamps

LARGEST_METADATA = 8 * 1024
LONGEST_TITLE = 200
LONGEST_MESSAGE = 10_000


class Notification(Identified, Created, Personal, Base):
    """One thing that a person has been told. Nothing of it changes but whether it was read."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("user_id", "dedupe_key"),
        CheckConstraint("type IN ('info', 'success', 'warning', 'error')", name="type"),
        CheckConstraint("char_length(category) <= 24", name="category"),
        CheckConstraint("char_length(event_type) <= 64", name="event_type"),
        CheckConstraint(f"char_length(title) BETWEEN 1 AND {LONGEST_TITLE}", name="title"),
        CheckConstraint(f"char_length(message) <= {LONGEST_MESSAGE}", name="message"),
        CheckConstraint("char_length(action_url) <= 512", name="action_url"),
        CheckConstraint("char_length(action_label) <= 60", name="action_label"),
        CheckConstraint("char_length(dedupe_key) <= 120", name="dedupe_key"),
        CheckConstraint("is_read = (read_at IS NOT NULL)", name="read_at"),
        CheckConstraint(
            f"jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= {LARGEST_METADATA}",
            name="metadata",
        ),
        Index("notifications_newest", "user_id", "created_at", "id"),
        Index("notifications_unread", "user_id", "created_at", "id", postgresql_where=text("NOT is_read")),
        Index("notifications_organization", "organization_id", "user_id"),
        # For the nightly prune, which goes by age alone.
        Index("notifications_created_at", "created_at"),
    )

    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    event_id: Mapped[UUID | None]
    type: Mapped[str]
    category: Mapped[str]
    event_type: Mapped[str | None]
    title: Mapped[str]
    message: Mapped[str]
    action_url: Mapped[str | None]
    action_label: Mapped[str | None]
    is_read: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    read_at: Mapped[datetime | None]
    dedupe_key: Mapped[str]
    metadata_: Mapped[Json] = mapped_column("metadata")


class NotificationPreference(Identified, Timestamps, Personal, Base):
    """Where a person departs from a category's default on one channel."""

    __tablename__ = "notification_preferences"
    __table_args__ = (
        UniqueConstraint("user_id", "category", "channel"),
        CheckConstraint("char_length(category) <= 24", name="category"),
        CheckConstraint("channel IN ('in_app', 'email', 'push')", name="channel"),
        CheckConstraint("digest IN ('off', 'hourly', 'daily')", name="digest"),
    )

    category: Mapped[str]
    channel: Mapped[str]
    is_enabled: Mapped[bool]
    digest: Mapped[str] = mapped_column(server_default="off", default="off")


class NotificationDelivery(Identified, Timestamps, Personal, Base):
    """One way in which a person was told something, or was not: the history of ninety days."""

    __tablename__ = "notification_deliveries"
    __table_args__ = (
        UniqueConstraint("user_id", "dedupe_key"),
        CheckConstraint("char_length(category) <= 24", name="category"),
        CheckConstraint("channel IN ('in_app', 'email', 'push')", name="channel"),
        CheckConstraint(
            "state IN ('queued', 'sent', 'delivered', 'opened',"
            " 'bounced', 'failed', 'suppressed', 'skipped')",
            name="state",
        ),
        CheckConstraint("char_length(reason) <= 40", name="reason"),
        CheckConstraint("char_length(provider) <= 20", name="provider"),
        CheckConstraint(f"char_length(title) <= {LONGEST_TITLE}", name="title"),
        CheckConstraint("char_length(dedupe_key) <= 160", name="dedupe_key"),
        Index("notification_deliveries_newest", "user_id", "created_at", "id"),
        Index("notification_deliveries_created_at", "created_at"),
        # For the foreign keys, and for how a mail ended.
        Index(
            "notification_deliveries_notification_id",
            "notification_id",
            postgresql_where=text("notification_id IS NOT NULL"),
        ),
        Index("notification_deliveries_email_id", "email_id", postgresql_where=text("email_id IS NOT NULL")),
    )

    notification_id: Mapped[UUID | None] = mapped_column(ForeignKey("notifications.id", ondelete="SET NULL"))
    event_id: Mapped[UUID | None]
    category: Mapped[str]
    channel: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    email_id: Mapped[UUID | None] = mapped_column(ForeignKey("emails.id", ondelete="SET NULL"))
    provider: Mapped[str | None]
    title: Mapped[str]
    dedupe_key: Mapped[str]
    completed_at: Mapped[datetime | None]
