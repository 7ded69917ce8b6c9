"""Tables of mail: what is to be sent, the local outbox, and addresses that must not be written to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, System, Timestamps

STATUSES = (
    "queued",
    "sending",
    "sent",
    "delivered",
    "bounced",
    "complained",
    "failed",
    "suppressed",
    "expired",
)


class Email(Identified, Timestamps, System, Base):
    """One mail to one address: the queue, and for thirty days the history. What is personal is sealed."""

    __tablename__ = "emails"
    __table_args__ = (
        UniqueConstraint("message_id", name="emails_message_id_key"),
        UniqueConstraint("dedupe_key", name="emails_dedupe_key"),
        CheckConstraint("char_length(message_id) <= 200", name="message_id"),
        CheckConstraint("char_length(dedupe_key) <= 160", name="dedupe_key_length"),
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        Index("emails_due", "status", "next_attempt_at"),
        Index("emails_user", "user_id", "created_at"),
        Index("emails_provider", "provider", "provider_message_id"),
        Index("emails_recipient", "to_hash", "admitted_at"),
        Index("emails_organization", "organization_id", "admitted_at"),
        Index("emails_created_at", "created_at", "id"),
        Index(
            "emails_to_wipe",
            "updated_at",
            postgresql_where=sql("variables_sealed IS NOT NULL AND status NOT IN ('queued', 'sending')"),
        ),
    )

    event_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    to_address_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    to_hash: Mapped[bytes] = mapped_column(LargeBinary)
    template_key: Mapped[str]
    template_version: Mapped[int] = mapped_column(server_default=sql("1"))
    locale: Mapped[str]
    category: Mapped[str]
    variables_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    message_id: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="queued")
    provider: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=sql("0"))
    next_attempt_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    last_error_code: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    dedupe_key: Mapped[str]
    admitted_at: Mapped[datetime | None]
    """When the limits by recipient and by organisation let it pass; its later tries do not count again."""


class MailOutbox(Identified, Created, System, Base):
    """What the local sender kept instead of sending: the last thousand mails, shown under `/sandbox/mail`."""

    __tablename__ = "mail_outbox"
    __table_args__ = (Index("mail_outbox_newest", "created_at", "id"),)

    to_address: Mapped[str]
    from_address: Mapped[str]
    subject: Mapped[str]
    html: Mapped[str]
    text: Mapped[str]
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=sql("'{}'"))


class EmailSuppression(Identified, Created, System, Base):
    """An address that bounced, complained or was blocked by hand, as an HMAC."""

    __tablename__ = "email_suppressions"
    __table_args__ = (
        UniqueConstraint("address_hash", name="email_suppressions_address_hash_key"),
        CheckConstraint("reason IN ('hard_bounce', 'complaint', 'manual')", name="reason"),
        Index("email_suppressions_created_at", "created_at", "id"),
    )

    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str]
    provider: Mapped[str | None]
