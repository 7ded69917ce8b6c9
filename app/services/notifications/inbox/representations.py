"""What streams show of a new notice, beside its id."""

from collections.abc import Collection
from uuid import UUID

from app.core.database import SystemSession
from app.repositories.notifications import NotificationRepository
from app.schemas.notifications.inbox import NotificationRead
from app.services.realtime.expanding import Representations, representation


@representation("notification")
async def notices(session: SystemSession, ids: Collection[UUID]) -> Representations:
    """The notices as `GET /api/notifications/{notification_id}` answers them."""
    rows = await NotificationRepository(session).of_ids(ids)
    return {row.id: NotificationRead.model_validate(row).model_dump(mode="json") for row in rows}
