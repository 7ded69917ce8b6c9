"""The access check of keys, over HTTP: each point of its order of judgement, and what it costs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import ColumnElement, update

from app.core import clock
from app.core.config import get_settings
from app.core.crypto.api_keys import make_api_key
from app.core.database import SystemSession
from app.models.auth import User
from app.models.integrations import ApiKey
from app.models.team import Organization, TeamMember
from tests.factories.integrations import make_api_key_row
from tests.support.personas import Persona

ROUTE = "/api/products"
SELF = "/api/integrations/api-keys/self"
CLOSED = "/api/auth/me"
NOWHERE = "0197ffff-0000-7000-8000-000000000000"


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def by(key: str, **more: str) -> dict[str, str]:
    return {"X-API-Key": key, **{name.replace("_", "-"): value for name, value in more.items()}}


async def change(db: SystemSession, model: type, where: ColumnElement[bool], **values: object) -> None:
    await db.execute(update(model).where(where).values(**values))
    await db.commit()


async def change_key(db: SystemSession, key: ApiKey, **values: object) -> None:
    await change(db, ApiKey, ApiKey.id == key.id, **values)


def from_address(app: FastAPI, address: str) -> AsyncClient:
    transport = ASGITransport(app=app, client=(address, 40000))
    return AsyncClient(transport=transport, base_url="http://api.luneo.test")


@pytest.fixture
async def made(db: SystemSession, alice: Persona) -> tuple[ApiKey, str]:
    return await make_api_key_row(db, owner=alice, permissions=["products:read"])


async def test_key_when_it_comes_in_either_header(client: AsyncClient, made: tuple[ApiKey, str]):
    for headers in (
        by(made[1]),
        {"Authorization": f"Bearer {made[1]}"},
        {"authorization": f"bearer  {made[1]} "},
    ):
        answer = await client.get(ROUTE, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"


async def test_key_when_there_is_another_credential(
    client: AsyncClient, made: tuple[ApiKey, str], alice: Persona
):
    for other in (alice.headers["Authorization"], f"Bearer {made[1]}", "Basic eDp5", "x"):
        answer = await client.get(ROUTE, headers=by(made[1], Authorization=other))
        assert code(answer) == (400, "ambiguous_credentials")
    twice = [("X-API-Key", made[1]), ("X-API-Key", made[1])]
    assert code(await client.get(ROUTE, headers=twice)) == (400, "ambiguous_credentials")


async def test_key_when_it_stands_in_the_address(client: AsyncClient, made: tuple[ApiKey, str]):
    for name in ("api_key", "key", "x-api-key", "access_token"):
        answer = await client.get(ROUTE, params={name: made[1]})
        assert code(answer) == (401, "unauthenticated")
        assert made[1] not in answer.text


async def test_key_when_its_form_is_wrong_costs_no_statement(
    client: AsyncClient,
    made: tuple[ApiKey, str],
    statements: Callable[[], AbstractContextManager[list[str]]],
):
    live = get_settings().model_copy(update={"environment": "production"})
    wrong = made[1][:-1] + ("a" if made[1][-1] != "a" else "b")
    with statements() as seen:
        answers = [
            await client.get(ROUTE, headers=headers)
            for bad in (wrong, make_api_key(live), "luneo_test_", "luneo_live_x")
            for headers in (by(bad), {"Authorization": f"Bearer {bad}"})
        ]
        answers += [await client.get(ROUTE, headers=by(bad)) for bad in ("", "x", "eyJ.x.y", "x" * 9000)]
        odd = {b"X-API-Key": "luneo_test_é".encode("latin-1")}
        answers.append(await client.get(ROUTE, headers=odd))
    assert {code(answer) for answer in answers} == {(401, "api_key_invalid")}
    assert 'error="invalid_token"' in answers[0].headers["www-authenticate"]
    assert seen == []


async def test_key_when_it_is_no_good_answers_one_body(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
):
    now = clock.now()
    past = now - timedelta(seconds=1)
    revoked: dict[str, Any] = {"revoked_at": past, "revoke_reason": "manual"}
    keys = [
        make_api_key(get_settings()),
        (await make_api_key_row(db, owner=alice, is_active=False))[1],
        (await make_api_key_row(db, owner=alice, **revoked))[1],
        (await make_api_key_row(db, owner=alice, grace_until=past))[1],
        (await make_api_key_row(db, owner=alice, expires_at=past, **revoked))[1],
        (await make_api_key_row(db, owner=alice, created_by=bob.user_id))[1],
        "luneo_test_x",
    ]
    await change(db, User, User.id == bob.user_id, status="suspended")
    told = [await client.get(ROUTE, headers=by(key)) for key in keys]
    bodies = [{**answer.json(), "request_id": None} for answer in told]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["code"] == "api_key_invalid"
    assert all("api_key" not in answer.headers.get("ratelimit", "").replace("api_bad", "") for answer in told)


async def test_key_when_it_has_expired(client: AsyncClient, db: SystemSession, made: tuple[ApiKey, str]):
    await change_key(db, made[0], expires_at=clock.now() + timedelta(minutes=5))
    assert (await client.get(ROUTE, headers=by(made[1]))).status_code == 200
    with clock.travel(timedelta(minutes=5, seconds=1)):
        assert code(await client.get(ROUTE, headers=by(made[1]))) == (401, "api_key_expired")


@pytest.mark.parametrize(
    ("address", "allowed", "is_let_in"),
    [
        ("203.0.113.5", ["203.0.113.5/32"], True),
        ("203.0.113.6", ["203.0.113.5/32"], False),
        ("203.0.113.6", ["198.51.100.0/24", "203.0.113.0/24"], True),
        ("203.0.114.1", ["203.0.113.0/24"], False),
        ("::ffff:203.0.113.6", ["203.0.113.0/24"], True),
        ("2001:db8:1::7", ["2001:db8:1::/48"], True),
        ("2001:db8:2::7", ["2001:db8:1::/48"], False),
        ("2001:db8:1::7", ["203.0.113.0/24"], False),
        ("203.0.113.6", ["::/0"], False),
        ("203.0.113.6", [], True),
        ("not an address", ["0.0.0.0/0", "::/0"], False),
    ],
)
async def test_key_when_its_addresses_are_limited(
    app: FastAPI, db: SystemSession, alice: Persona, address: str, allowed: list[str], is_let_in: bool
):
    _, key = await make_api_key_row(db, owner=alice, allowed_ips=allowed)
    async with from_address(app, address) as http:
        answer = await http.get(ROUTE, headers=by(key))
    assert is_let_in == (answer.status_code == 200)
    if not is_let_in:
        assert code(answer) == (403, "ip_not_allowed")


async def test_key_when_it_comes_through_proxies(
    app: FastAPI, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_settings(), "trusted_proxies", ["10.0.0.0/8"])
    _, key = await make_api_key_row(db, owner=alice, allowed_ips=["203.0.113.5/32"])
    for peer, hops, is_let_in in (
        ("10.0.0.1", "203.0.113.5", True),
        ("10.0.0.1", "203.0.113.5, 10.0.0.9", True),
        ("10.0.0.1", "::ffff:203.0.113.5", True),
        ("10.0.0.1", "203.0.113.5, 198.51.100.1", False),
        ("198.51.100.1", "203.0.113.5", False),
        ("203.0.113.5", "198.51.100.1", True),
    ):
        async with from_address(app, peer) as http:
            answer = await http.get(ROUTE, headers=by(key, X_Forwarded_For=hops))
        assert (answer.status_code == 200) == is_let_in, (peer, hops)


async def test_key_when_a_page_uses_it(client: AsyncClient, db: SystemSession, alice: Persona):
    _, key = await make_api_key_row(db, owner=alice, allowed_origins=["https://shop.example.com"])
    for origin in ("https://shop.example.com", "http://api.luneo.test"):
        assert (await client.get(ROUTE, headers=by(key, Origin=origin))).status_code == 200
    for origin in (
        "https://evil.example",
        "https://shop.example.com.evil.example",
        "null",
        "",
        "http://shop.example.com",
    ):
        answer = await client.get(ROUTE, headers=by(key, Origin=origin))
        assert code(answer) == (403, "origin_not_allowed")
    _, bare = await make_api_key_row(db, owner=alice)
    answer = await client.get(ROUTE, headers=by(bare, Origin="https://shop.example.com"))
    assert code(answer) == (403, "origin_not_allowed")


async def test_key_when_another_organization_is_asked(
    client: AsyncClient, made: tuple[ApiKey, str], alice: Persona, charlie: Persona
):
    for asked in (str(charlie.organization_id), NOWHERE, "none", ""):
        answer = await client.get(ROUTE, headers=by(made[1], X_Organization_Id=asked))
        assert code(answer) == (404, "not_found")
    own = by(made[1], X_Organization_Id=str(alice.organization_id))
    assert (await client.get(ROUTE, headers=own)).status_code == 200


async def test_key_when_its_hour_is_used_up(
    client: AsyncClient, db: SystemSession, alice: Persona, made: tuple[ApiKey, str]
):
    await change_key(db, made[0], rate_limit=3)
    answers = [await client.get(ROUTE, headers=by(made[1])) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"].startswith('"api_key";q=3;w=3600, "api_org";q=20000;w=3600')
    assert answers[0].headers["x-ratelimit-remaining"] == "2"
    assert answers[3].json()["code"] == "rate_limited"
    assert 0 < int(answers[3].headers["retry-after"]) <= 7201
    assert code(await client.get(CLOSED, headers=by(made[1]))) == (429, "rate_limited")
    _, other = await make_api_key_row(db, owner=alice)
    assert (await client.get(ROUTE, headers=by(other))).status_code == 200, "each key has an hour of its own"


async def test_keys_when_the_organizations_hour_is_used_up(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_settings(), "limit_api_org", "3/1h")
    keys = [(await make_api_key_row(db, owner=alice))[1] for _ in range(2)]
    _, foreign = await make_api_key_row(db, owner=charlie)
    answers = [await client.get(ROUTE, headers=by(keys[number % 2])) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (await client.get(ROUTE, headers=by(foreign))).status_code == 200


async def test_address_when_it_tries_many_keys(
    client: AsyncClient, made: tuple[ApiKey, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_settings(), "limit_api_bad", "3/1m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    wrong = ["luneo_test_x", make_api_key(get_settings()), "luneo_test_y", make_api_key(get_settings())]
    answers = [await client.get(ROUTE, headers=by(key)) for key in wrong]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert (await client.get(ROUTE, headers=by(made[1]))).status_code == 200, (
        "good keys are not refused by it"
    )


async def test_key_when_the_route_is_for_people(client: AsyncClient, made: tuple[ApiKey, str]):
    assert code(await client.get(CLOSED, headers=by(made[1]))) == (403, "user_session_required")


async def test_key_when_the_scope_is_missing(client: AsyncClient, made: tuple[ApiKey, str]):
    answer = await client.post(ROUTE, headers=by(made[1]), json={"name": "Bag", "price": 1})
    assert code(answer) == (403, "insufficient_scope")
    assert answer.json()["scope"] == "products:write"
    answer = await client.get(f"/api/orders/{NOWHERE}", headers=by(made[1]))
    assert code(answer) == (403, "insufficient_scope"), "before anything is looked up"


async def test_key_when_it_has_no_scopes(client: AsyncClient, db: SystemSession, alice: Persona):
    for nothing in ([], ["api_keys:manage", "billing:write", "nonsense"]):
        _, key = await make_api_key_row(db, owner=alice, permissions=nothing)
        assert code(await client.get(ROUTE, headers=by(key))) == (403, "insufficient_scope")
        assert (await client.get(SELF, headers=by(key))).json()["scopes"] == []


async def test_key_when_its_creators_role_changes(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
):
    words = ["products:read", "products:write"]
    _, key = await make_api_key_row(db, owner=alice, created_by=bob.user_id, permissions=words)
    here = (TeamMember.user_id == bob.user_id) & (TeamMember.organization_id == alice.organization_id)
    body = {"name": "Bag", "price": 1}
    refused = await client.post(ROUTE, headers=by(key), json=body)
    assert code(refused) == (403, "permission_denied")
    assert refused.json()["permission"] == "products:write"
    await change(db, TeamMember, here, role="manager")
    assert (await client.post(ROUTE, headers=by(key), json=body)).status_code == 201
    await change(db, TeamMember, here, role="viewer")
    assert code(await client.post(ROUTE, headers=by(key), json=body)) == (403, "permission_denied")
    await change(db, TeamMember, here, status="suspended")
    assert code(await client.get(ROUTE, headers=by(key))) == (401, "api_key_invalid")
    await change(db, TeamMember, here, status="active")
    assert (await client.get(ROUTE, headers=by(key))).status_code == 200, "who comes back revives the key"


async def test_key_when_the_organization_was_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona, made: tuple[ApiKey, str]
):
    await change(db, Organization, Organization.id == alice.organization_id, deleted_at=clock.now())
    assert code(await client.get(ROUTE, headers=by(made[1]))) == (401, "api_key_invalid")


async def test_judgement_when_several_points_apply(
    app: FastAPI, client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
):
    """Every fault at once; they are mended one after the other, and the next one answers."""
    now = clock.now()
    key, secret = await make_api_key_row(
        db,
        owner=alice,
        permissions=[],
        is_active=False,
        expires_at=now - timedelta(minutes=1),
        allowed_ips=["203.0.113.5/32"],
        rate_limit=1,
    )
    asked = {"Origin": "https://evil.example", "X-Organization-Id": str(charlie.organization_id)}

    async def ask(path: str = CLOSED) -> tuple[int, str]:
        return code(await client.get(path, headers={**by(secret), **asked}))

    assert await ask() == (401, "api_key_invalid")
    await change_key(db, key, is_active=True)
    assert await ask() == (401, "api_key_expired")
    await change_key(db, key, expires_at=None)
    assert await ask() == (403, "ip_not_allowed")
    await change_key(db, key, allowed_ips=[])
    assert await ask() == (403, "origin_not_allowed")
    del asked["Origin"]
    assert await ask() == (404, "not_found")
    del asked["X-Organization-Id"]
    assert await ask() == (403, "user_session_required")
    assert await ask() == (429, "rate_limited"), "the hour goes before the route"
    await change_key(db, key, rate_limit=50)
    assert await ask(ROUTE) == (403, "insufficient_scope")


async def test_check_when_everything_is_well_costs_one_statement(
    client: AsyncClient,
    made: tuple[ApiKey, str],
    statements: Callable[[], AbstractContextManager[list[str]]],
):
    with statements() as first:
        await client.get(ROUTE, headers=by(made[1]))
    assert len([line for line in first if "UPDATE api_keys" in line]) == 1
    with statements() as seen:
        await client.get(ROUTE, headers=by(made[1]))
    assert len([line for line in seen if "api_keys" in line]) == 1
    assert not [line for line in seen if "sessions" in line]


async def test_use_when_it_is_noted(
    app: FastAPI, client: AsyncClient, db: SystemSession, made: tuple[ApiKey, str]
):
    async with from_address(app, "2001:db8::9") as http:
        await http.get(ROUTE, headers=by(made[1]))
    before = made[0].updated_at
    key = await db.get_one(ApiKey, (made[0].organization_id, made[0].id), populate_existing=True)
    first = key.last_used_at
    assert first is not None
    assert (str(key.last_used_ip), key.updated_at) == ("2001:db8::9", before)
    with clock.travel(timedelta(seconds=50)):
        await client.get(ROUTE, headers=by(made[1]))
    await db.refresh(key)
    assert key.last_used_at == first, "once a minute is enough"
    with clock.travel(timedelta(seconds=70)):
        await client.get(ROUTE, headers=by(made[1]))
    await db.refresh(key)
    assert key.last_used_at > first
    assert str(key.last_used_ip) == "127.0.0.1"


async def test_person_when_they_ask_what_only_a_key_may(client: AsyncClient, alice: Persona):
    assert code(await client.get(SELF, headers=alice.headers)) == (403, "api_key_required")


async def test_key_when_every_kind_of_route_is_asked(client: AsyncClient, db: SystemSession, alice: Persona):
    """Who acted is the key: in what it makes, in history and in events."""
    key, secret = await make_api_key_row(db, owner=alice)
    product = await client.post(
        ROUTE, headers=by(secret), json={"name": "Bag", "price": 100, "status": "active", "stock": 5}
    )
    assert product.status_code == 201, product.text
    order = await client.post(
        "/api/orders",
        headers=by(secret),
        json={
            "items": [{"product_id": product.json()["id"], "quantity": 1}],
            "customer": {"email": "anna@example.test"},
            "payment_method": "manual",
        },
    )
    assert order.status_code == 201, order.text
    assert order.json()["channel"] == "api"
    history = (await client.get(f"/api/orders/{order.json()['id']}/history", headers=by(secret))).json()
    assert {
        item["actor"]["type"] if "actor" in item else item["actor_type"] for item in history["items"]
    } == {"api_key"}
    assert str(key.id) in str(history)
