"""Every route of the document times an API key: who lets it in, who does not, and whose rows it sees."""

import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from app.core.database import Database, SystemSession
from app.core.permissions import OPEN_TO_KEYS
from tests.factories.integrations import make_api_key_row
from tests.invariants.path_ids import all_names, family
from tests.invariants.served import Served, documented, guarded
from tests.support.events import handle_events
from tests.support.personas import Persona

DOCUMENTED = {route.name for route in documented()}
OPEN = [route for route in guarded() if route.name in DOCUMENTED and route.operation["x-api-key"]]
CLOSED = [route for route in guarded() if route.name in DOCUMENTED and not route.operation["x-api-key"]]
SCOPED = [route for route in OPEN if route.marker.key_scope is not None]
STREAMS = {
    "/api/events/stream",
    "/api/notifications/stream",
    "/api/realtime/events",
    "/api/realtime/stream",
}
EVERYTHING = ["admin", "webhooks:manage"]


@pytest.fixture
async def key(db: SystemSession, alice: Persona) -> dict[str, str]:
    """The headers of a key that may do all that keys may."""
    return {"X-API-Key": (await make_api_key_row(db, owner=alice, permissions=EVERYTHING))[1]}


def test_routes_when_they_are_sorted() -> None:
    assert len(OPEN) > 20
    assert len(CLOSED) > 20
    beyond = [route.name for route in OPEN if route.marker.key_scope not in {None, *OPEN_TO_KEYS}]
    assert not beyond, f"{beyond} take a key and need a permission that no key can have: see OPEN_TO_KEYS"
    named = {route.operation.get("x-api-key-scope", route.operation["x-permission"]) for route in SCOPED}
    assert named == {route.marker.key_scope for route in SCOPED}


@pytest.mark.parametrize("route", OPEN, ids=lambda route: route.name)
async def test_key_when_the_route_takes_keys(
    client: AsyncClient, db: SystemSession, alice: Persona, key: dict[str, str], route: Served
):
    """With the scope it comes as far as a person does who may do everything; in either header."""
    ids = await family(db, alice, route)
    for headers in (key, {"Authorization": f"Bearer {key['X-API-Key']}"}):
        answer = await route.ask(client, headers, body=route.example(), **ids)
        told = f"{route.name} answered {answer.status_code} {answer.text[:300]}"
        assert answer.status_code not in (400, 401, 403), told
        # No hub runs in this process, so that streams and polls are refused behind the access check.
        assert answer.status_code < 500 or (answer.status_code == 503 and route.path in STREAMS), told
        if headers is key:
            assert answer.status_code != 404 or not ids, told


@pytest.mark.parametrize("route", SCOPED, ids=lambda route: route.name)
async def test_key_when_the_scope_is_missing(
    client: AsyncClient, db: SystemSession, alice: Persona, route: Served
):
    others = sorted(scope.value for scope in OPEN_TO_KEYS if scope != route.marker.key_scope)
    _, key = await make_api_key_row(db, owner=alice, permissions=others)
    answer = await route.ask(client, {"X-API-Key": key}, body=route.example())
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), answer.text
    assert answer.json()["scope"] == route.marker.key_scope


async def test_key_when_the_route_is_for_people(client: AsyncClient, key: dict[str, str]):
    wrong = []
    for route in CLOSED:
        answer = await route.ask(client, key)
        if (answer.status_code, answer.json().get("code")) != (403, "user_session_required"):
            wrong.append(f"{route.name} answered {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", [route for route in OPEN if route.path_ids], ids=lambda route: route.name)
async def test_key_when_the_row_is_another_organizations(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    charlie: Persona,
    key: dict[str, str],
    route: Served,
):
    body = route.example()
    named = await all_names(db, charlie, route)
    theirs, own = named[0], await family(db, alice, route)
    mixed = [{**own, name: theirs[name]} for name in theirs] if len(theirs) > 1 else []
    for ids in (*named, *mixed):
        answer = await route.ask(client, key, body=body, **ids)
        assert answer.status_code == 404, f"{route.name} answered {answer.status_code} {answer.text[:200]}"


@pytest.mark.parametrize(
    "route",
    [route for route in OPEN if route.method == "GET" and not route.path_ids],
    ids=lambda route: route.name,
)
async def test_key_when_a_list_holds_only_foreign_rows(
    client: AsyncClient, db: SystemSession, charlie: Persona, key: dict[str, str], route: Served
):
    for other in guarded():
        if other.path.startswith(f"{route.path}/{{"):
            ids = await family(db, charlie, other)
            answer = await route.ask(client, key)
            assert answer.status_code < 400, answer.text
            assert not [str(value) for value in ids.values() if str(value) in answer.text]


async def test_database_when_it_is_searched_for_keys(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
):
    """A key lives through everything that may happen to it; no table holds it afterwards."""
    address = "/api/integrations/api-keys"
    headers = {**alice.headers, "Idempotency-Key": "k"}
    made = (await client.post(address, json={"name": "A"}, headers=headers)).json()
    assert (await client.post(address, json={"name": "A"}, headers=headers)).json()["key"] is None
    by_key = {"X-API-Key": made["key"], "Idempotency-Key": "p"}
    await client.get("/api/products", headers={"X-API-Key": made["key"]})
    await client.post("/api/products", json={"name": "Bag", "price": 1}, headers=by_key)
    rotated = await client.post(f"{address}/{made['id']}/rotate", json={"grace_seconds": 60}, headers=headers)
    await client.delete(f"{address}/{made['id']}", headers=headers)
    await handle_events(database)
    tables = await db.scalars(
        text(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            " AND table_type = 'BASE TABLE'"
        )
    )
    needles = [secret[11:] for secret in (made["key"], rotated.json()["key"])]
    needles += [needle.encode().hex() for needle in needles]
    found: list[Any] = []
    searched = 0
    for table in tables.all():
        every = text(f'SELECT CAST(t AS text) FROM "{table}" t')  # noqa: S608 - names of the catalogue
        rows = await db.execute(every)
        for row in rows.scalars():
            searched += 1
            found += [(table, needle) for needle in needles if needle in row]
    assert searched > 20
    assert not found
    assert json.dumps(made["key"]) not in rotated.text
