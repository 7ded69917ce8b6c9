"""What is told of a person's notices to that person's other tabs, and what asks for a test."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class InboxEvent(Event):
    """A change of somebody's notices."""

    audience: ClassVar[Audience] = "personal"
    audit: ClassVar[AuditSpec | str] = "What people have read is nobody else's affair."

    user_id: UUID
    unread_count: int


@dataclass(frozen=True, kw_only=True)
class NotificationCreated(InboxEvent):
    """There is a new notice."""

    type: ClassVar[str] = "notification.created"
    description: ClassVar[str] = "You have been told something new."
    subject: ClassVar[tuple[str, str] | None] = ("notification", "notification_id")
    expand: ClassVar[str | None] = "notification"

    notification_id: UUID


@dataclass(frozen=True, kw_only=True)
class NotificationMarked(InboxEvent):
    """A notice was read, or is unread again."""

    type: ClassVar[str] = "notification.read"
    description: ClassVar[str] = "One of your notices was read, or marked as unread."
    subject: ClassVar[tuple[str, str] | None] = ("notification", "notification_id")

    notification_id: UUID
    is_read: bool


@dataclass(frozen=True, kw_only=True)
class NotificationDeleted(InboxEvent):
    """A notice is gone; without an id, all those of an organisation that the person left."""

    type: ClassVar[str] = "notification.deleted"
    description: ClassVar[str] = "One of your notices was deleted, or all of an organisation that you left."

    notification_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class AllNotificationsRead(InboxEvent):
    """Several notices were read at once."""

    type: ClassVar[str] = "notification.all_read"
    description: ClassVar[str] = "Several of your notices were read at once."


@dataclass(frozen=True, kw_only=True)
class NotificationTestRequested(Event):
    """Somebody wants to see whether they are reached."""

    type: ClassVar[str] = "notification.test_requested"
    description: ClassVar[str] = "A test notice was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("test_notice",)
    audit: ClassVar[AuditSpec | str] = "It changes nothing that anybody keeps."

    user_id: UUID
    channel: str
