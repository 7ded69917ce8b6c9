"""Owns what people do with their notices: list them, read them, delete them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.events import emit
from app.core.paging import Keyset, Pager, Sort
from app.models.notifications import Notification
from app.repositories.notifications import NotificationRepository, lock_notices
from app.schemas.notifications.inbox import (
    NotificationChange,
    NotificationPage,
    NotificationQuery,
    NotificationRead,
    ReadAll,
    ReadAllResult,
    UnreadCount,
)
from app.services.notifications.inbox.events import (
    AllNotificationsRead,
    NotificationDeleted,
    NotificationMarked,
)

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "notifications",
    Keyset(Notification.created_at, Notification.id),
    {NEWEST_FIRST: Sort(Notification.created_at, is_descending=True, has_cursor=True)},
)


class InboxService:
    """What a signed-in person does with their own notices, of whichever organisation these are.

    Changes wait for each other: each tells the tabs how many are unread, and the last one has to be right.
    """

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.notices = NotificationRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def list(self, query: NotificationQuery) -> NotificationPage:
        """A page of notices, newest first, with the number of all unread ones."""
        filters = {
            "is_read": query.wanted_read,
            "type": query.type,
            "category": query.category,
            "organization_id": query.organization_id,
        }
        statement = self.notices.wanted(self.user_id, filters)
        rows = await PAGER.rows(self.session, statement, query, query.sort)
        return NotificationPage(
            items=[NotificationRead.model_validate(row) for row in rows.items],
            next_cursor=rows.next_cursor,
            total=rows.total,
            unread_count=await self.notices.unread_count(self.user_id),
        )

    async def unread_count(self) -> UnreadCount:
        """How many are unread, in all and by category."""
        by_category = await self.notices.unread_by_category(self.user_id)
        return UnreadCount(unread_count=sum(by_category.values()), by_category=by_category)

    async def get(self, notification_id: UUID) -> NotificationRead:
        """One notice; 404 for another person's."""
        return NotificationRead.model_validate(await self._notice(notification_id))

    async def change(self, notification_id: UUID, body: NotificationChange) -> NotificationRead:
        """Mark one as read or unread; what it was already stays as it is, and tells nobody."""
        await lock_notices(self.session, [self.user_id])
        notice = await self._notice(notification_id, lock=True)
        if notice.is_read != body.is_read:
            notice.is_read = body.is_read
            notice.read_at = clock.now() if body.is_read else None
            await self.session.flush()
            await emit(
                self.session,
                NotificationMarked(
                    user_id=self.user_id,
                    notification_id=notice.id,
                    is_read=notice.is_read,
                    unread_count=await self.notices.unread_count(self.user_id),
                ),
            )
        return NotificationRead.model_validate(notice)

    async def delete(self, notification_id: UUID) -> None:
        """Delete one for good; 404 for another person's."""
        await lock_notices(self.session, [self.user_id])
        await self.notices.remove(await self._notice(notification_id, lock=True))
        await emit(
            self.session,
            NotificationDeleted(
                user_id=self.user_id,
                notification_id=notification_id,
                unread_count=await self.notices.unread_count(self.user_id),
            ),
        )

    async def read_all(self, body: ReadAll) -> ReadAllResult:
        """Mark all as read, or those up to the newest one that was seen; 404 when that is none of theirs."""
        await lock_notices(self.session, [self.user_id])
        seen = await self._notice(body.before) if body.before is not None else None
        updated = await self.notices.mark_read(
            self.user_id, before=seen, category=body.category, now=clock.now()
        )
        unread = await self.notices.unread_count(self.user_id)
        if updated:
            await emit(self.session, AllNotificationsRead(user_id=self.user_id, unread_count=unread))
        return ReadAllResult(updated=updated, unread_count=unread)

    async def _notice(self, notification_id: UUID, *, lock: bool = False) -> Notification:
        notice = await self.notices.of(self.user_id, notification_id, lock=lock)
        if notice is None:
            raise NotFound()
        return notice


Inbox = Annotated[InboxService, Depends()]
