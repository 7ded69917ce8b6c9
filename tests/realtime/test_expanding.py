"""Things that come with their events: as they are when they are sent."""

import asyncio
from collections.abc import Collection
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from app.core.database import Database, SystemSession
from app.models.notifications import Notification
from app.services.notifications.inbox.events import NotificationCreated
from app.services.realtime import expanding
from tests.factories.notifications import make_notification
from tests.support.streams import LiveServer, following, happen

pytestmark = pytest.mark.commits

POLL = "/api/realtime/events"


def created(row: Notification) -> NotificationCreated:
    return NotificationCreated(user_id=row.user_id, notification_id=row.id, unread_count=1)


async def test_notice_comes_with_its_event_when_it_is_streamed(
    http: AsyncClient, database: Database, db: SystemSession, alice: Any
) -> None:
    row = await make_notification(db, owner=alice, title="Été", metadata_={"order_id": "7"})
    async with following(http, alice.headers) as stream:
        await happen(database, created(row), user_id=alice.user_id)
        (event,) = await stream.count(1)
    shown = (await http.get(f"/api/notifications/{row.id}", headers=alice.headers)).json()
    assert shown["title"] == "Été"
    pulled = (await http.get(f"/api/events/{event.data['id']}", headers=alice.headers)).json()
    assert "notification" not in pulled["data"]
    assert event.data == {**pulled, "data": {**pulled["data"], "notification": shown}}


@pytest.mark.parametrize("is_in_ring", [True, False])
async def test_notice_is_shown_as_it_is_now_when_its_reader_returns(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    db: SystemSession,
    alice: Any,
    is_in_ring: bool,
) -> None:
    read, gone = [await make_notification(db, owner=alice) for _ in range(2)]
    cursor = str(server.hub.cursor)
    async with following(http, alice.headers) as stream:
        await happen(database, created(read), created(gone), user_id=alice.user_id)
        before = await stream.count(2)
    assert [event.data["data"]["notification"]["is_read"] for event in before] == [False, False]
    address = f"/api/notifications/{read.id}"
    shown = (await http.patch(address, headers=alice.headers, json={"is_read": True})).json()
    await db.delete(gone)
    await db.commit()
    if not is_in_ring:
        server.hub.ring.clear(server.hub.position)
    async with following(http, alice.headers, cursor=cursor, types="notification.created") as again:
        after = await again.count(2)
    assert [event.data["data"]["notification"] for event in after] == [shown, None]
    query = {"cursor": cursor, "types": "notification.created"}
    polled = (await http.get(POLL, headers=alice.headers, params=query)).json()
    assert polled["items"] == [event.data for event in after]


async def test_nothing_is_missed_when_the_log_goes_on_while_things_are_loaded(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    db: SystemSession,
    alice: Any,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = await make_notification(db, owner=alice)
    cursor = str(server.hub.cursor)
    async with following(http, alice.headers) as stream:
        await happen(database, created(row), user_id=alice.user_id)
        await stream.count(1)
    loading, may_go_on = asyncio.Event(), asyncio.Event()

    async def load_slowly(session: SystemSession, ids: Collection[UUID]) -> expanding.Representations:
        loading.set()
        await may_go_on.wait()
        return {}

    monkeypatch.setitem(expanding.LOADERS, "notification", load_slowly)

    async def go_on() -> None:
        await loading.wait()
        position = server.hub.position
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await server.until(position + 1)
        may_go_on.set()

    going_on = asyncio.create_task(go_on())
    async with following(http, alice.headers, cursor=cursor) as again:
        await happen(database, noticed(number=2), user_id=alice.user_id)
        events = await again.count(3)
        await again.first("synced")
    await going_on
    assert [event.kind for event in events] == ["notification.created", "test.noticed", "test.noticed"]
    assert [event.number for event in events[1:]] == [1, 2]
