"""What happens to people holds for their keys on the next request; and who acted is the key."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import select

from app.core import dispatch
from app.core.config import get_settings
from app.core.crypto.api_keys import make_api_key
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.limits import Limiter
from app.main import create_app
from app.models.team import TeamMember
from tests.factories.integrations import make_api_key_row
from tests.support.accounts import events
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague

KEYS = "/api/integrations/api-keys"
BAG = {"name": "Bag", "price": 100}


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
async def ben(db: SystemSession, alice: Persona) -> Persona:
    return await make_colleague(db, alice, "ben", role="admin")


@pytest.fixture
async def address(db: SystemSession, ben: Persona) -> str:
    """Ben's membership."""
    here = (TeamMember.user_id == ben.user_id) & (TeamMember.organization_id == ben.organization_id)
    member = (await db.scalars(select(TeamMember).where(here))).one()
    return f"/api/team/members/{member.id}"


@pytest.fixture
async def key(client: AsyncClient, ben: Persona) -> dict[str, str]:
    """A key that Ben made himself."""
    body = {"name": "Till", "permissions": ["products:read", "products:write"]}
    answer = await client.post(KEYS, json=body, headers=ben.headers)
    assert answer.status_code == 201, answer.text
    return {"X-API-Key": answer.json()["key"]}


async def test_key_when_its_creator_is_demoted(
    client: AsyncClient, alice: Persona, address: str, key: dict[str, str]
):
    assert (await client.post("/api/products", json=BAG, headers=key)).status_code == 201
    answer = await client.patch(address, json={"role": "viewer"}, headers=alice.headers)
    assert answer.status_code == 200, answer.text
    refused = await client.post("/api/products", json=BAG, headers=key)
    assert code(refused) == (403, "permission_denied")
    assert (await client.get("/api/products", headers=key)).status_code == 200
    await client.patch(address, json={"role": "manager"}, headers=alice.headers)
    assert (await client.post("/api/products", json=BAG, headers=key)).status_code == 201


async def test_key_when_its_creator_is_suspended(
    client: AsyncClient, alice: Persona, address: str, key: dict[str, str]
):
    answer = await client.patch(address, json={"status": "suspended"}, headers=alice.headers)
    assert answer.status_code == 200, answer.text
    assert code(await client.get("/api/products", headers=key)) == (401, "api_key_invalid")
    await client.patch(address, json={"status": "active"}, headers=alice.headers)
    assert (await client.get("/api/products", headers=key)).status_code == 200


async def test_key_when_its_creator_is_removed(
    client: AsyncClient, db: SystemSession, alice: Persona, ben: Persona, key: dict[str, str]
):
    answer = await client.post("/api/team/remove", json={"user_id": str(ben.user_id)}, headers=alice.headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["removed"]["api_keys"] == 1
    assert code(await client.get("/api/products", headers=key)) == (401, "api_key_invalid")
    (event,) = await events(db, "api_key.revoked")
    assert event["reason"] == "member_removed"
    (listed,) = (await client.get(KEYS, headers=alice.headers)).json()["items"]
    assert (listed["revoke_reason"], listed["scopes"]) == ("member_removed", [])


async def test_events_when_a_key_acts_and_reads(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
):
    """The event names the key; a key reads its organisation's events, and nobody's own."""
    row, secret = await make_api_key_row(db, owner=alice)
    by_key = {"X-API-Key": secret}
    assert (await client.post("/api/products", json=BAG, headers=by_key)).status_code == 201
    (kept,) = (await db.scalars(select(EventOutbox).where(EventOutbox.type == "product.created"))).all()
    assert (kept.actor_type, kept.actor_id, kept.api_key_id) == ("api_key", row.id, row.id)
    assert (kept.session_id, kept.user_id) == (None, None)
    body = json.loads(kept.body)
    assert body["actor"] == {"type": "api_key", "id": str(row.id)}
    await client.delete("/api/settings/sessions", headers=alice.headers)
    await client.patch("/api/settings/profile", json={"full_name": "Alice A."}, headers=alice.headers)
    await handle_events(database)
    own = {item["type"] for item in (await client.get("/api/events", headers=alice.headers)).json()["items"]}
    seen = {item["type"] for item in (await client.get("/api/events", headers=by_key)).json()["items"]}
    assert "product.created" in seen
    assert "user.profile_updated" in own - seen
    assert not [kind for kind in seen if kind.startswith("api_key.")], "no key may manage keys"


@pytest.fixture
def unplanned(app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application with every route answered by the framework itself."""
    monkeypatch.setattr(dispatch, "plan_of", lambda _route: None)
    made = create_app()
    made.state.database = database
    made.state.limiter = Limiter(None)
    made.state.hub = app.state.hub
    return made


MADE = {"request_id", "id", "created_at", "updated_at", "slug"}
TIMED = {
    "x-request-id",
    "traceparent",
    "location",
    "content-length",
    "ratelimit",
    "x-ratelimit-reset",
    "retry-after",
}


def shown(answer: Response) -> Any:
    """All of an answer but what differs from request to request, and the names of all headers."""
    body = answer.json()
    if "items" not in body:
        body = {name: value for name, value in body.items() if name not in MADE}
    headers = {name: value for name, value in answer.headers.items() if name not in TIMED}
    return answer.status_code, body, headers, set(answer.headers)


def with_keys(text: str, keys: dict[str, str]) -> str:
    """The text with each word replaced by the key that it stands for."""
    for word, key in keys.items():
        text = text.replace(word, key)
    return text


async def test_answers_when_routes_have_plans_and_when_they_have_none(
    client: AsyncClient, unplanned: FastAPI, db: SystemSession, alice: Persona, charlie: Persona
):
    rows = [await make_api_key_row(db, owner=alice, permissions=["products:read"]) for _ in range(2)]
    writers = [await make_api_key_row(db, owner=alice, permissions=["products:write"]) for _ in range(2)]
    tight = [await make_api_key_row(db, owner=alice, rate_limit=1) for _ in range(2)]
    other = str(charlie.organization_id)
    compared = 0
    transport = ASGITransport(app=unplanned)
    async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as plain:
        for method, path, headers, body in (
            ("GET", "/api/products", {"X-API-Key": "KEY"}, None),
            ("GET", "/api/products?limit=0", {"X-API-Key": "KEY"}, None),
            ("GET", "/api/products?api_key=KEY", {}, None),
            ("GET", "/api/products", {"Authorization": "Bearer KEY"}, None),
            ("GET", "/api/products", {"Authorization": "Bearer KEY", "X-API-Key": "KEY"}, None),
            ("GET", "/api/products", {"X-API-Key": make_api_key(get_settings())}, None),
            ("GET", "/api/products", {"X-API-Key": "luneo_test_x"}, None),
            ("GET", "/api/products", {"X-API-Key": "KEY", "Origin": "https://evil.example"}, None),
            ("GET", "/api/products", {"X-API-Key": "KEY", "X-Organization-Id": other}, None),
            ("GET", "/api/products/x", {"X-API-Key": "KEY"}, None),
            ("GET", "/api/orders", {"X-API-Key": "KEY"}, None),
            ("GET", "/api/auth/me", {"X-API-Key": "KEY"}, None),
            ("GET", KEYS, {"X-API-Key": "KEY"}, None),
            ("POST", "/api/products", {"X-API-Key": "KEY"}, BAG),
            ("POST", "/api/products", {"X-API-Key": "WRITER"}, BAG),
            ("POST", "/api/products", {"X-API-Key": "WRITER"}, {"name": 1}),
            ("GET", "/api/products", {"X-API-Key": "TIGHT"}, None),
            ("GET", "/api/products", {"X-API-Key": "TIGHT"}, None),
        ):
            answers = []
            for number, http in enumerate((client, plain)):
                keys = {"KEY": rows[number][1], "WRITER": writers[number][1], "TIGHT": tight[number][1]}
                sent = {name: with_keys(value, keys) for name, value in headers.items()}
                answers.append(
                    shown(await http.request(method, with_keys(path, keys), headers=sent, json=body))
                )
            assert answers[0] == answers[1], (method, path, headers)
            compared += 1
    assert compared == 18
