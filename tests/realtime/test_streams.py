"""Streams: what is delivered, to whom, and where a reader goes on."""

from typing import Any

import pytest
from httpx import AsyncClient
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.core.database import Database
from app.core.permissions import Permission
from app.services.realtime import opening, stream
from tests.support.events import declare_event
from tests.support.streams import STREAM, LiveServer, following, happen

pytestmark = pytest.mark.commits


def resets(reason: str) -> float:
    return REGISTRY.get_sample_value("luneo_stream_resets_total", {"reason": reason}) or 0.0


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


async def test_events_reach_only_those_who_may_read_them(
    http: AsyncClient, database: Database, alice: Any, bob: Any, charlie: Any, noticed: Any, ordered: Any
) -> None:
    audited = declare_event("test.audited", audience="organization", permission=Permission.audit_read)
    hidden = declare_event("test.hidden")
    async with (
        following(http, alice.headers) as hers,
        following(http, bob.headers) as viewers,
        following(http, charlie.headers) as strangers,
    ):
        mine = {"organization_id": alice.organization_id, "user_id": alice.user_id}
        await happen(
            database, ordered(number=1), audited(number=2), noticed(number=3), hidden(number=4), **mine
        )
        for person in (alice, bob, charlie):
            await happen(database, noticed(number=9), user_id=person.user_id)
        for followed in (hers, viewers, strangers):
            await followed.until_number(9)
    assert hers.numbers == [1, 2, 3, 9]
    assert viewers.numbers == [1, 9]
    assert strangers.numbers == [9]


async def test_other_organisation_is_streamed_when_it_is_asked_for(
    http: AsyncClient, database: Database, alice: Any, charlie: Any, ordered: Any
) -> None:
    async with following(
        http, {**charlie.headers, "X-Organization-Id": str(alice.organization_id)}
    ) as stream:
        assert stream.frames[0].data["organization"] is None


async def test_aliases_stream_when_they_are_asked(
    http: AsyncClient, database: Database, alice: Any, noticed: Any
) -> None:
    told = declare_event("notification.tested", audience="personal")
    async with (
        following(http, alice.headers, "/api/events/stream") as stream,
        following(http, alice.headers, "/api/notifications/stream") as notifications,
    ):
        await happen(database, noticed(number=1), told(number=2), user_id=alice.user_id)
        await stream.count(2)
        await notifications.count(1)
    assert (stream.numbers, notifications.numbers) == ([1, 2], [2])


async def test_types_narrow_what_is_sent_and_not_the_cursor(
    http: AsyncClient, server: LiveServer, database: Database, alice: Any, noticed: Any, ordered: Any
) -> None:
    async with following(http, alice.headers, types="test.ordered, session.*") as stream:
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await happen(database, ordered(number=2), organization_id=alice.organization_id)
        await stream.count(1)
    assert stream.numbers == [2]


REFUSALS = [
    ({"types": "order.*,no.such"}, 422, "unknown_event_type"),
    ({"types": ""}, 422, "validation_error"),
    ({"topics": "ticket:1"}, 404, "not_found"),
    ({"access_token": "x"}, 422, "validation_error"),
]


async def test_stream_is_refused_when_its_query_is_wrong(http: AsyncClient, alice: Any) -> None:
    for query, status, code in REFUSALS:
        answer = await http.get(STREAM, params=query, headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    token = alice.headers["Authorization"].removeprefix("Bearer ")
    assert (await http.get(STREAM, params={"access_token": token})).status_code == 401


async def test_missed_events_come_in_order_when_the_reader_returns(
    http: AsyncClient, database: Database, alice: Any, noticed: Any
) -> None:
    async with following(http, alice.headers) as first:
        await happen(database, noticed(number=1), user_id=alice.user_id)
        cursor = (await first.count(1))[0].id
    assert cursor is not None
    await happen(database, noticed(number=2), noticed(number=3), user_id=alice.user_id)
    async with following(http, alice.headers, cursor=cursor) as second:
        await happen(database, noticed(number=4), user_id=alice.user_id)
        await second.count(3)
    in_header = {**alice.headers, "Last-Event-ID": cursor}
    for number, (headers, query) in enumerate(
        [(in_header, {"cursor": "of no account"}), (alice.headers, {"last_event_id": cursor})], 5
    ):
        async with following(http, headers, **query) as again:
            synced = await again.first("synced")
            await happen(database, noticed(number=number), user_id=alice.user_id)
            await again.until_number(number)
        assert again.frames[0].data["mode"] == "replay"
        assert again.frames[0].id == cursor
        assert again.numbers == list(range(2, number + 1))
        assert synced == again.frames[-2]
        assert synced.data == {"cursor": synced.id}
        assert synced.position >= again.frames[-3].position


async def test_missed_events_come_from_the_table_when_the_ring_is_too_short(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    alice: Any,
    noticed: Any,
    ordered: Any,
    charlie: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.services.realtime.reading.TABLE_PAGE", 7)
    cursor = server.hub.cursor
    assert cursor is not None
    for number in range(0, 30, 3):
        await happen(database, noticed(number=number), user_id=alice.user_id)
        await happen(database, noticed(number=-1), user_id=charlie.user_id)
        shared = [ordered(number=number + 1), ordered(number=number + 2)]
        await happen(database, *shared, organization_id=alice.organization_id)
    async with following(http, alice.headers) as last:
        await happen(database, noticed(number=30), user_id=alice.user_id)
        await last.until(lambda: 30 in last.numbers)
    server.hub.ring.clear(server.hub.position)
    async with following(http, alice.headers, cursor=cursor) as stream:
        await stream.first("synced")
    assert stream.numbers == list(range(31))
    positions = [event.position for event in stream.events]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("is_in_ring", [True, False])
async def test_stream_is_reset_when_too_much_was_missed(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    alice: Any,
    noticed: Any,
    is_in_ring: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "MOST_MISSED", 20)
    monkeypatch.setattr(opening, "TABLE_PAGE", 10)
    monkeypatch.setattr("app.services.realtime.reading.TABLE_PAGE", 10)
    cursor = server.hub.cursor
    assert cursor is not None
    async with following(http, alice.headers) as stream:
        await happen(database, *[noticed(number=number) for number in range(20)], user_id=alice.user_id)
        await stream.count(20)
        if not is_in_ring:
            server.hub.ring.clear(server.hub.position)
        async with following(http, alice.headers, cursor=cursor) as whole:
            await whole.first("synced")
        await happen(database, noticed(number=20), user_id=alice.user_id)
        await stream.count(21)
        if not is_in_ring:
            server.hub.ring.clear(server.hub.position)
    before = resets("too_many")
    async with following(http, alice.headers, cursor=cursor) as none:
        await happen(database, noticed(number=21), user_id=alice.user_id)
        await none.count(1)
    hello = none.frames[0]
    assert whole.numbers == list(range(20))
    assert (hello.data["mode"], hello.data["reason"]) == ("reset", "too_many")
    assert hello.position == stream.events[-1].position
    assert none.numbers == [21]
    assert resets("too_many") == before + 1


async def test_stream_is_reset_when_the_cursor_is_no_good(
    http: AsyncClient, server: LiveServer, database: Database, alice: Any, noticed: Any
) -> None:
    async with following(http, alice.headers) as stream:
        await happen(database, noticed(number=1), noticed(number=2), user_id=alice.user_id)
        await stream.count(2)
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE event_epochs SET resume_floor = :floor"), {"floor": stream.events[1].position}
        )
    epoch = server.hub.epoch
    for cursor, reason in {
        "nonsense": "malformed",
        "x" * 70: "malformed",
        "a\x00b": "malformed",
        "aaaaaaaa.1": "unknown_epoch",
        f"{epoch}.{stream.events[1].position + 1}": "ahead",
        f"{epoch}.9999999999999999999": "ahead",
        f"{epoch}.{stream.events[0].position}": "expired",
    }.items():
        async with following(http, alice.headers, cursor=cursor) as again:
            hello = again.frames[0]
        assert (hello.data["mode"], hello.data["reason"]) == ("reset", reason)
        assert hello.id == hello.data["cursor"] == server.hub.cursor


async def test_cursor_of_an_answer_misses_nothing_when_a_stream_begins_there(
    http: AsyncClient, database: Database, alice: Any, noticed: Any
) -> None:
    loaded = await http.get("/api/settings/sessions", headers=alice.headers)
    await happen(database, noticed(number=1), user_id=alice.user_id)
    async with following(http, alice.headers, cursor=loaded.headers["x-realtime-cursor"]) as stream:
        await stream.count(1)
    assert stream.numbers == [1]
    for answer in (
        await http.get("/api/products/x", headers=alice.headers),
        await http.get("/health/live", headers=alice.headers),
        await http.post("/api/realtime/tickets", headers=alice.headers),
        await http.get("/openapi.json"),
    ):
        assert "x-realtime-cursor" not in answer.headers


async def test_ping_carries_the_present_cursor_when_nothing_is_sent(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    alice: Any,
    charlie: Any,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "PING_SECONDS", 0.2)
    async with following(http, alice.headers) as hers, following(http, charlie.headers) as his:
        await happen(database, noticed(number=1), user_id=charlie.user_id)
        passed = (await his.count(1))[0].position
        await hers.until(lambda: any(f.kind == "ping" and f.position >= passed for f in hers.frames))
    assert set(hers.frames[-1].data) == {"server_time"}
    assert hers.events == []


async def test_streams_are_counted_when_somebody_has_many(
    http: AsyncClient, server: LiveServer, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.hub.settings, "max_streams", 2)
    async with following(http, alice.headers), following(http, alice.headers), following(http, bob.headers):
        answer = await http.get(STREAM, headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert "retry-after" in answer.headers
        assert len(server.hub.registry.all) == 3
        assert REGISTRY.get_sample_value("luneo_streams_open") == 3
        monkeypatch.setattr(server.hub.settings, "max_streams_per_process", 3)
        full = await http.get(STREAM, headers=bob.headers)
        assert (full.status_code, full.json()["code"]) == (503, "stream_capacity")
        assert full.headers["retry-after"] == "2"
    await server.until_empty()
    async with following(http, alice.headers):
        pass
