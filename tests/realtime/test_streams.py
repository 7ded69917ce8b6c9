"""Streams: what is delivered, to whom, and where a reader goes on."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.core.database import Database
from tests.support.streams import LiveServer, following, happen

pytestmark = pytest.mark.commits


async def test_stream_says_hello_when_it_opens(http: AsyncClient, server: LiveServer, alice: Any) -> None:
    async with following(http, alice.headers) as stream:
        hello = stream.frames[0]
        answer = stream.answer
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert (hello.kind, hello.retry, hello.id) == ("hello", 2000, server.hub.cursor)
    assert hello.data["cursor"] == hello.id
    assert (hello.data["v"], hello.data["mode"], hello.data["reason"]) == (1, "live", None)
    assert hello.data["heartbeat_seconds"] == 15
    assert hello.data["organization"] == str(alice.organization_id)


async def test_events_come_at_once_when_they_happen(
    http: AsyncClient, database: Database, alice: Any, noticed: Any, ordered: Any
) -> None:
    async with following(http, alice.headers) as stream:
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await happen(database, ordered(number=2), ordered(number=3), organization_id=alice.organization_id)
        events = await stream.count(3)
    assert [(event.kind, event.number) for event in events] == [
        ("test.noticed", 1),
        ("test.ordered", 2),
        ("test.ordered", 3),
    ]
    positions = [event.position for event in events]
    assert positions == sorted(set(positions))
    assert positions[0] > stream.frames[0].position
