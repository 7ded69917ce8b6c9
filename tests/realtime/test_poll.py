"""The long poll: the same events as the stream, one answer at a time."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from app.core.database import Database
from app.services.realtime import opening
from tests.support.streams import LiveServer, following, happen

pytestmark = pytest.mark.commits

POLL = "/api/realtime/events"


async def poll(http: AsyncClient, person: Any, cursor: str | None = None, **query: Any) -> dict[str, Any]:
    params = {**query, **({} if cursor is None else {"cursor": cursor})}
    answer = await http.get(POLL, params=params, headers=person.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"items", "next_cursor", "total", "mode", "reason"}
    assert found["total"] is None
    return found


def numbers(found: dict[str, Any]) -> list[int]:
    return [item["data"]["number"] for item in found["items"]]


async def test_poll_goes_through_all_that_was_missed_when_pages_are_short(
    http: AsyncClient, server: LiveServer, database: Database, alice: Any, bob: Any, noticed: Any
) -> None:
    start = await poll(http, alice)
    assert (start["items"], start["mode"], start["next_cursor"]) == ([], "live", server.hub.cursor)
    async with following(http, alice.headers) as stream:
        await happen(database, *[noticed(number=number) for number in range(5)], user_id=alice.user_id)
        await stream.count(5)
    found, cursor = [], start["next_cursor"]
    for _ in range(3):
        page = await poll(http, alice, cursor, limit=2)
        assert page["mode"] == "replay"
        found.append(numbers(page))
        cursor = page["next_cursor"]
    assert found == [[0, 1], [2, 3], [4]]
    assert page["items"] == [stream.events[4].data]
    last = await poll(http, alice, cursor)
    assert (last["items"], last["mode"]) == ([], "live")
    assert (await poll(http, bob, start["next_cursor"]))["items"] == []
    narrowed = await poll(http, alice, start["next_cursor"], types="session.*")
    assert (narrowed["items"], narrowed["next_cursor"]) == ([], server.hub.cursor)
    server.hub.ring.clear(server.hub.position)
    assert numbers(await poll(http, alice, start["next_cursor"], wait=5)) == [0, 1, 2, 3, 4]


async def test_poll_answers_as_soon_as_there_is_one_event_when_it_waits(
    http: AsyncClient, server: LiveServer, database: Database, alice: Any, noticed: Any, ordered: Any
) -> None:
    start = await poll(http, alice)
    waiting = asyncio.create_task(poll(http, alice, start["next_cursor"], wait=20, types="test.noticed"))
    while not server.hub.registry.all:  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.01)
    await happen(database, ordered(number=1), organization_id=alice.organization_id)
    await happen(database, noticed(number=2), user_id=alice.user_id)
    found = await asyncio.wait_for(waiting, 15)
    assert (numbers(found), found["mode"]) == ([2], "live")
    assert numbers(await poll(http, alice, start["next_cursor"], wait=20)) == [1, 2]
    assert (await poll(http, alice, found["next_cursor"], wait=1))["items"] == []
    await server.until_empty()


async def test_poll_is_reset_when_its_cursor_cannot_be_honoured(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    alice: Any,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "MOST_MISSED", 2)
    start = await poll(http, alice)
    async with following(http, alice.headers) as stream:
        await happen(database, *[noticed(number=number) for number in range(3)], user_id=alice.user_id)
        await stream.count(3)
    cursors = {"x": "malformed", "aaaaaaaa.1": "unknown_epoch", start["next_cursor"]: "too_many"}
    for cursor, reason in {**cursors, f"{server.hub.epoch}.999": "ahead"}.items():
        found = await poll(http, alice, cursor, wait=20)
        assert (found["items"], found["mode"], found["reason"]) == ([], "reset", reason)
        assert found["next_cursor"] == server.hub.cursor


async def test_poll_ends_when_its_client_or_its_session_goes(
    http: AsyncClient, server: LiveServer, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.hub.settings, "max_streams", 1)
    cursor = server.hub.cursor
    gone = asyncio.create_task(poll(http, alice, cursor, wait=25))
    ended = asyncio.create_task(poll(http, bob, cursor, wait=25))
    while len(server.hub.registry.all) < 2:  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.01)
    refused = await http.get(POLL, params={"cursor": cursor, "wait": 1}, headers=alice.headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert (await poll(http, alice, cursor))["items"] == []
    gone.cancel()
    await http.delete(f"/api/settings/sessions/{bob.session_id}", headers=bob.headers)
    found = await asyncio.wait_for(ended, 20)
    assert [item["type"] for item in found["items"]] == ["session.revoked"]
    await server.until_empty()


async def test_poll_is_refused_when_its_query_is_wrong(http: AsyncClient, alice: Any) -> None:
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"wait": 26}, 422),
        ({"limit": 101}, 422),
        ({"wait": "+1"}, 422),
        ({"limit": [1, 2]}, 422),
        ({"types": "nothing"}, 422),
        ({"topics": "ticket:1"}, 404),
        ({"topics": ",".join(20 * ["ticket:1"])}, 404),
        ({"topics": ",".join(21 * ["ticket:1"])}, 422),
        ({"last_event_id": "x"}, 422),
        ({"cursor": "a\x00"}, 200),
    ]
    # A body is not read, however large it is.
    waiting = {"cursor": (await poll(http, alice))["next_cursor"], "wait": 1}
    large = await http.request("GET", POLL, params=waiting, headers=alice.headers, content=b"x" * 1_100_000)
    assert (large.status_code, large.json()["items"]) == (200, [])
    for query, status in wrong:
        assert (await http.get(POLL, params=query, headers=alice.headers)).status_code == status
