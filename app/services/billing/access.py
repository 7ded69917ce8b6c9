"""Owns how far an organisation may use what it subscribed to, by the state of the subscription."""

from datetime import datetime, timedelta
from typing import Literal

from app.core.config import get_settings
from app.models.billing import Subscription

Access = Literal["full", "grace", "read_only", "free"]

FULL = frozenset({"trialing", "active"})
SUSPENDED = frozenset({"unpaid", "paused"})


def access_of(subscription: Subscription | None, now: datetime) -> Access:
    """What the subscription gives at this moment: the table of the billing page, section 3."""
    if subscription is None:
        return "free"
    return access_in(subscription.status, subscription.past_due_since, now)


def access_in(status: str, past_due_since: datetime | None, now: datetime) -> Access:
    """The same, of a state by itself."""
    if status in FULL:
        return "full"
    if status == "past_due":
        return "grace" if now < grace_ends_at(past_due_since or now) else "read_only"
    return "read_only" if status in SUSPENDED else "free"


def grace_ends_at(past_due_since: datetime) -> datetime:
    """When what is overdue stops being usable."""
    return past_due_since + timedelta(days=get_settings().billing_grace_days)
