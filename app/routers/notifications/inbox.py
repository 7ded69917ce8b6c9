"""What a person has been told, and what was read."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.notifications.inbox import (
    DeliveryRead,
    HistoryQuery,
    NotificationChange,
    NotificationPage,
    NotificationQuery,
    NotificationRead,
    ReadAll,
    ReadAllResult,
    TestNotice,
    TestNoticeAccepted,
    UnreadCount,
)
from app.services.notifications.inbox.history import History
from app.services.notifications.inbox.reading import Inbox
from app.services.notifications.inbox.testing import Tests

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])

SignedIn = Annotated[Principal, Depends(allow())]
NotificationInQuery = Annotated[PathId, Query(alias="id", description="The notice.")]

LIST_PROBLEMS = problems({422: ["cursor_invalid", "page_too_deep"]})


@router.get("", responses=LIST_PROBLEMS)
async def list_notifications(
    _: SignedIn, inbox: Inbox, query: Annotated[NotificationQuery, Query()]
) -> NotificationPage:
    """List what the caller has been told, newest first.

    Notices of all the caller's organisations are in it. `unread_count` counts all unread ones, whatever the
    filters are.
    """
    return await inbox.list(query)


@router.get("/unread-count")
async def get_unread_count(_: SignedIn, inbox: Inbox) -> UnreadCount:
    """How many notices are unread, in all and by category.

    Over all organisations of the caller. Categories without an unread notice are left out.
    """
    return await inbox.unread_count()


@router.post("/read-all", responses=problems({404: ["not_found"]}))
async def read_all_notifications(_: SignedIn, inbox: Inbox, body: ReadAll | None = None) -> ReadAllResult:
    """Mark notices as read.

    All of them, or those of a category, or those up to the newest one that was seen (`before`, that one
    too): one that arrives meanwhile stays unread.
    """
    return await inbox.read_all(body or ReadAll())


@router.get("/history", response_model=Page[DeliveryRead], responses=LIST_PROBLEMS)
async def list_deliveries(
    _: SignedIn, history: History, query: Annotated[HistoryQuery, Query()]
) -> Rows[DeliveryRead]:
    """How the caller was told: mails and push messages of the last ninety days, newest first.

    `skipped` says why nothing was sent.
    """
    return await history.list(query)


@router.post(
    "/test",
    status_code=202,
    dependencies=[Depends(limited("notification_test", by="principal"))],
    responses=problems({503: ["push_not_configured"]}),
)
async def send_test_notice(
    _: SignedIn, tests: Tests, body: TestNotice, response: Response
) -> TestNoticeAccepted:
    """Send the caller a test notice by one channel.

    It is under way when this is answered; the history shows how it ended.
    """
    response.headers["Location"] = f"/api/notifications/history?channel={body.channel}"
    return await tests.send(body)


@router.patch("", deprecated=True)
@router.put("", deprecated=True)
async def update_notification_alias(
    _: SignedIn, inbox: Inbox, notification_id: NotificationInQuery, body: NotificationChange
) -> NotificationRead:
    """Mark a notice as read or unread, named in the query.

    See `PATCH /api/notifications/{notification_id}`.
    """
    return await inbox.change(notification_id, body)


@router.delete("", status_code=204, deprecated=True)
async def delete_notification_alias(_: SignedIn, inbox: Inbox, notification_id: NotificationInQuery) -> None:
    """Delete a notice, named in the query.

    See `DELETE /api/notifications/{notification_id}`.
    """
    await inbox.delete(notification_id)


@router.get("/{notification_id}")
async def get_notification(_: SignedIn, inbox: Inbox, notification_id: PathId) -> NotificationRead:
    """Get one notice.

    Reading it here does not mark it as read.
    """
    return await inbox.get(notification_id)


@router.patch("/{notification_id}")
@router.put("/{notification_id}")
async def update_notification(
    _: SignedIn, inbox: Inbox, notification_id: PathId, body: NotificationChange
) -> NotificationRead:
    """Mark a notice as read or unread.

    Nothing else about it can be changed. What it is already stays as it is.
    """
    return await inbox.change(notification_id, body)


@router.delete("/{notification_id}", status_code=204)
async def delete_notification(_: SignedIn, inbox: Inbox, notification_id: PathId) -> None:
    """Delete a notice for good.

    It cannot be brought back. Other tabs hear of it.
    """
    await inbox.delete(notification_id)
