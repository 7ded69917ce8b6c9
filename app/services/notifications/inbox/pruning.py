"""Owns how long notices and their history are kept, and what goes with a membership."""

from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.repositories.notifications import DeliveryRepository, NoticeRepository, lock_notices
from app.services.notifications.inbox.events import NotificationDeleted

MOST = 10_000
"""Notices of one person; the oldest go."""

HISTORY_KEPT = timedelta(days=90)
STEP = 1000


async def prune(database: Database) -> None:
    """Remove what is old, and what one person has too much of, in small transactions."""
    now = clock.now()
    kept = timedelta(days=get_settings().notifications_retention_days)
    gone = STEP
    while gone == STEP:
        async with database.transaction() as session:
            gone = await NoticeRepository(session).forget_old(now - kept, STEP)
    gone = STEP
    while gone == STEP:
        async with database.transaction() as session:
            gone = await DeliveryRepository(session).forget(now - HISTORY_KEPT, STEP)
    while await _trim(database):
        pass


async def _trim(database: Database) -> bool:
    """Trim some people who have too many notices; whether there were any."""
    async with database.transaction() as session:
        repository = NoticeRepository(session)
        people = await repository.people_with_more(MOST, STEP)
        for user_id in people:
            await repository.forget_beyond(user_id, MOST, STEP)
    return bool(people)


async def forget_notices_of(session: SystemSession, organization_id: UUID, user_id: UUID) -> int:
    """Remove a person's notices of an organisation that they left, and tell their tabs; how many it were."""
    repository = NoticeRepository(session)
    await lock_notices(session, [user_id])
    gone = await repository.forget_of(organization_id, user_id)
    if gone:
        counts = await repository.unread_counts([user_id])
        await emit(session, NotificationDeleted(user_id=user_id, unread_count=counts.get(user_id, 0)))
    return gone
