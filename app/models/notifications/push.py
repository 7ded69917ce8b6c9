"""The table of browsers that take push messages."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Personal, Timestamps


class PushSubscription(Identified, Timestamps, Personal, Base):
    """A browser of a person. Its address and its secret are sealed: whoever knows both can write to it."""

    __tablename__ = "push_subscriptions"
    __table_args__ = (
        UniqueConstraint("endpoint_hash"),
        CheckConstraint("octet_length(endpoint_hash) = 32", name="endpoint_hash"),
        CheckConstraint("char_length(p256dh) <= 120", name="p256dh"),
        CheckConstraint("char_length(user_agent) <= 300", name="user_agent"),
        CheckConstraint("failures >= 0", name="failures"),
        Index("push_subscriptions_newest", "user_id", "created_at", "id"),
        # For the foreign key.
        Index("push_subscriptions_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
    )

    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id", ondelete="SET NULL"))
    endpoint_hash: Mapped[bytes] = mapped_column(LargeBinary)
    endpoint_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    p256dh: Mapped[str]
    auth_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    user_agent: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    last_ok_at: Mapped[datetime | None]
