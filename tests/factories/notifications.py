"""Notices, their history, and browsers that take push messages."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.crypto import key_ring, seal
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.notifications import (
    Notification,
    NotificationDelivery,
    NotificationPreference,
    PushSubscription,
)
from app.services.notifications.push.subscribing import endpoint_hash
from tests.support.personas import Persona
from tests.support.push import BrowserKeys, browser_keys


async def make_notification(
    db: SystemSession,
    *,
    owner: Persona,
    category: str = "orders",
    is_read: bool = False,
    created_at: datetime | None = None,
    **values: Any,
) -> Notification:
    """Something that the owner has been told."""
    row = Notification(
        **{
            "id": uuid7(),
            "user_id": owner.user_id,
            "organization_id": owner.organization_id,
            "type": "info",
            "category": category,
            "title": "A title",
            "message": "A message.",
            "is_read": is_read,
            "read_at": clock.now() if is_read else None,
            "dedupe_key": str(uuid7()),
            "created_at": created_at or clock.now(),
            **values,
        }
    )
    db.add(row)
    await db.commit()
    return row


async def make_notice_delivery(db: SystemSession, *, owner: Persona, **values: Any) -> NotificationDelivery:
    """A way in which the owner was told something."""
    row = NotificationDelivery(
        **{
            "id": uuid7(),
            "user_id": owner.user_id,
            "category": "orders",
            "channel": "email",
            "state": "sent",
            "title": "A title",
            "dedupe_key": str(uuid7()),
            "created_at": clock.now(),
            **values,
        }
    )
    db.add(row)
    await db.commit()
    return row


async def make_preference(
    db: SystemSession, user_id: UUID, category: str, channel: str, *, is_enabled: bool
) -> None:
    """A wish of somebody."""
    db.add(
        NotificationPreference(
            id=uuid7(), user_id=user_id, category=category, channel=channel, is_enabled=is_enabled
        )
    )
    await db.commit()


async def make_browser(
    db: SystemSession,
    *,
    owner: Persona,
    endpoint: str | None = None,
    keys: BrowserKeys | None = None,
    **values: Any,
) -> PushSubscription:
    """A browser of the owner, subscribed in their session."""
    row_id, keys = uuid7(), keys or browser_keys()
    endpoint = endpoint or f"https://fcm.googleapis.com/fcm/send/{row_id}"
    table = "push_subscriptions"
    row = PushSubscription(
        **{
            "id": row_id,
            "user_id": owner.user_id,
            "session_id": owner.session_id,
            "endpoint_hash": endpoint_hash(endpoint),
            "endpoint_sealed": seal(
                key_ring(), endpoint.encode(), context=f"{table}.endpoint_sealed:{row_id}"
            ),
            "p256dh": keys.as_sent["p256dh"],
            "auth_sealed": seal(key_ring(), keys.auth, context=f"{table}.auth_sealed:{row_id}"),
            "created_at": clock.now(),
            **values,
        }
    )
    db.add(row)
    await db.commit()
    return row
