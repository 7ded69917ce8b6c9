"""The pull API: events as a list, one by one, and the types there are."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from app.core import clock
from app.core.database import SystemSession
from app.core.events import REGISTRY
from app.core.ids import uuid7
from app.core.permissions import Permission
from tests.factories.events import make_event
from tests.invariants.test_refusals import colleague_with

EVENTS = "/api/events"


async def listed(client: AsyncClient, person: Any, **query: Any) -> dict[str, Any]:
    answer = await client.get(EVENTS, params=query, headers=person.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(page: dict[str, Any]) -> list[UUID]:
    return [UUID(item["id"]) for item in page["items"]]


@pytest.fixture
async def five(db: SystemSession, alice: Any) -> list[UUID]:
    """Events of Alice's organisation, oldest first."""
    return [(await make_event(db, owner=alice, number=number)).event_id for number in range(5)]


async def test_event_is_the_text_that_was_emitted_when_it_is_read(
    client: AsyncClient, db: SystemSession, alice: Any
) -> None:
    row = await make_event(db, owner=alice, object_type="product", object_id="7", name="Été  \u2028 &")
    answer = await client.get(f"{EVENTS}/{row.event_id}", headers=alice.headers)
    assert (answer.status_code, answer.text) == (200, row.body)
    assert answer.headers["content-type"] == "application/json"
    page = await client.get(EVENTS, headers=alice.headers)
    assert page.text == f'{{"items":[{row.body}],"next_cursor":null,"total":null}}'


async def test_events_are_paged_by_position_when_there_are_many(
    client: AsyncClient, alice: Any, five: list[UUID]
) -> None:
    first = await listed(client, alice, limit=3, count="true")
    assert (ids(first), first["total"]) == (five[:1:-1], 5)
    second = await listed(client, alice, limit=3, cursor=first["next_cursor"])
    assert (ids(second), second["next_cursor"]) == (five[1::-1], None)
    oldest = await listed(client, alice, sort="position", limit=2)
    assert ids(oldest) == five[:2]
    following = await listed(client, alice, sort="position", limit=2, cursor=oldest["next_cursor"])
    assert ids(following) == five[2:4]
    numbered = await listed(client, alice, limit=2, page=2)
    assert (ids(numbered), numbered["total"]) == (five[2:0:-1], 5)


async def test_own_events_and_shared_ones_are_one_list_when_they_are_paged(
    client: AsyncClient, db: SystemSession, alice: Any
) -> None:
    kinds: list[dict[str, Any]] = [{"audience": "personal", "type": "auth.signed_in"}, {}]
    made = [(await make_event(db, owner=alice, **kinds[number % 2])).event_id for number in range(6)]
    found: list[UUID] = []
    cursor: str | None = None
    while cursor is not None or not found:
        page = await listed(client, alice, limit=2, count="true", **({"cursor": cursor} if cursor else {}))
        assert page["total"] == 6
        found += ids(page)
        cursor = page["next_cursor"]
    assert found == made[::-1]
    assert ids(await listed(client, alice, limit=2, page=2, sort="position")) == made[2:4]
    assert ids(await listed(client, alice, after=made[2])) == made[3:]


async def test_events_are_caught_up_with_when_the_last_id_is_sent(
    client: AsyncClient, alice: Any, five: list[UUID]
) -> None:
    page = await listed(client, alice, after=five[1], limit=2, count="true")
    assert (ids(page), page["next_cursor"], page["total"]) == (five[2:4], None, 3)
    assert ids(await listed(client, alice, after=five[3])) == five[4:]
    assert ids(await listed(client, alice, after=five[4])) == []


async def test_events_are_filtered_when_it_is_asked(
    client: AsyncClient, db: SystemSession, alice: Any
) -> None:
    now = clock.now()
    order = await make_event(db, owner=alice, type="order.paid", object_type="order", object_id="7")
    other = await make_event(db, owner=alice, type="order.created", object_type="order", object_id="8")
    old = await make_event(db, owner=alice, occurred_at=now - timedelta(days=2))
    for query, rows in [
        ({"types": "order.*"}, [other, order]),
        ({"types": "order.paid,product.updated"}, [old, order]),
        ({"object_id": "7"}, [order]),
        ({"object_type": "order"}, [other, order]),
        ({"since": (now - timedelta(hours=1)).isoformat()}, [other, order]),
        ({"until": (now - timedelta(hours=1)).isoformat()}, [old]),
    ]:
        assert ids(await listed(client, alice, **query)) == [row.event_id for row in rows], query


async def test_events_are_hidden_from_those_who_may_not_read_them(
    client: AsyncClient, db: SystemSession, alice: Any, bob: Any, charlie: Any
) -> None:
    shared = await make_event(db, owner=alice)
    personal = await make_event(db, owner=alice, type="auth.signed_in", audience="personal")
    hidden = await make_event(db, owner=alice, type="auth.locked", audience="internal")
    guest = await colleague_with(db, alice, Permission.events_read)
    seen = {"alice": alice, "bob": bob, "charlie": charlie, "guest": guest}
    assert {name: ids(await listed(client, person)) for name, person in seen.items()} == {
        "alice": [personal.event_id, shared.event_id],
        "bob": [shared.event_id],
        "charlie": [],
        "guest": [],
    }
    for row, person in [(shared, charlie), (shared, guest), (personal, bob), (hidden, alice)]:
        answer = await client.get(f"{EVENTS}/{row.event_id}", headers=person.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        after = await client.get(EVENTS, params={"after": str(row.event_id)}, headers=person.headers)
        assert after.status_code == 404


async def test_event_is_gone_when_its_id_is_older_than_the_log(client: AsyncClient, alice: Any) -> None:
    with clock.travel(timedelta(days=29)):
        young = uuid7()
    old = UUID(int=young.int - (60 * 86_400_000 << 80))
    for identifier, status, code in [
        (old, 410, "event_expired"),
        (young, 404, "not_found"),
        (uuid4(), 404, "not_found"),
        ("x", 404, "not_found"),
    ]:
        answer = await client.get(f"{EVENTS}/{identifier}", headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = await client.get(EVENTS, params={"after": str(old)}, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (410, "event_expired")


async def test_list_is_refused_when_its_query_is_wrong(
    client: AsyncClient, alice: Any, five: list[UUID]
) -> None:
    cursor = (await listed(client, alice, limit=1))["next_cursor"]
    after = str(five[0])
    wrong: list[dict[str, Any]] = [
        {"types": "no.such"},
        {"types": "auth.locked"},
        {"after": after, "sort": "position"},
        {"after": after, "cursor": cursor},
        {"after": after, "page": 1},
        {"after": "x"},
        {"sort": "position", "cursor": cursor},
        {"types": "order.*", "cursor": cursor},
        {"page": 5000, "limit": 100},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"object_id": "a\x00"},
    ]
    for query in wrong:
        answer = await client.get(EVENTS, params=query, headers=alice.headers)
        assert answer.status_code == 422, query


async def test_types_are_listed_with_schema_and_sample(client: AsyncClient, alice: Any) -> None:
    items: list[Any] = []
    cursor: str | None = None
    while cursor is not None or not items:
        query: dict[str, Any] = {"limit": 7, **({"cursor": cursor} if cursor else {})}
        answer = await client.get(f"{EVENTS}/types", params=query, headers=alice.headers)
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    known = {name: kind for name, kind in REGISTRY.items() if kind.audience != "internal"}
    assert [item["type"] for item in items] == sorted(known)
    for item in items:
        assert item["webhook"] == known[item["type"]].webhook
        assert set(item["schema"]["properties"]) == set(item["sample"]["data"]), item["type"]
        assert item["sample"]["type"] == item["type"]
        assert json.dumps(item["sample"])
    created = next(item for item in items if item["type"] == "product.created")
    assert (created["audience"], created["read_permission"]) == ("organization", "products:read")


async def test_types_are_narrowed_to_those_of_webhooks(client: AsyncClient, alice: Any) -> None:
    query: dict[str, Any] = {"webhook": "true", "limit": 100, "count": "true"}
    page = (await client.get(f"{EVENTS}/types", params=query, headers=alice.headers)).json()
    assert page["total"] == len([kind for kind in REGISTRY.values() if kind.webhook])
    assert all(item["webhook"] for item in page["items"])
    deep = {"page": 200, "limit": 100}
    assert (await client.get(f"{EVENTS}/types", params=deep, headers=alice.headers)).status_code == 422
