"""What is told of the browsers that take push messages."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class PushSubscriptionRemoved(Event):
    """A browser does not take messages any more."""

    type: ClassVar[str] = "push_subscription.removed"
    description: ClassVar[str] = "One of your browsers does not take push messages any more."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("push_subscription", "push_subscription_id")
    audit: ClassVar[AuditSpec | str] = "Nobody acted: its push service does not know it any more."

    user_id: UUID
    push_subscription_id: UUID
    reason: str
