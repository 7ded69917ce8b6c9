"""API keys over HTTP: making, reading, changing and revoking them."""

import re
import secrets
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import update

from app.core import clock
from app.core.config import get_settings
from app.core.crypto.api_keys import is_api_key
from app.core.database import SystemSession
from app.core.permissions import LEGACY_SCOPES, OPEN_TO_KEYS, Permission
from app.models.auth import UserSession
from app.models.billing import Plan
from app.models.integrations import ApiKey
from app.models.team import TeamMember
from tests.factories.integrations import make_api_key_row
from tests.invariants.test_refusals import colleague_with
from tests.support.accounts import events
from tests.support.personas import Persona, make_colleague

KEYS = "/api/integrations/api-keys"


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def create(client: AsyncClient, who: Persona, **body: Any) -> Response:
    return await client.post(KEYS, json={"name": "Warehouse", **body}, headers=who.headers)


async def created(client: AsyncClient, who: Persona, **body: Any) -> dict[str, Any]:
    answer = await create(client, who, **body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def may_read(client: AsyncClient, key: str) -> int:
    return (await client.get("/api/products", headers={"X-API-Key": key})).status_code


async def test_key_when_it_is_created(client: AsyncClient, db: SystemSession, alice: Persona):
    answer = await client.post(KEYS, json={"name": " Warehouse "}, headers=alice.headers)
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    key = made.pop("key")
    assert re.fullmatch(r"luneo_test_[0-9A-Za-z]{42}", key)
    assert is_api_key(key, get_settings())
    assert (made["key_prefix"], made["last4"]) == (key[:15], key[-4:])
    assert (made["name"], made["permissions"], made["rate_limit"]) == ("Warehouse", ["read"], 1000)
    assert made["scopes"] == sorted(LEGACY_SCOPES["read"])
    assert made["created_by"] == str(alice.user_id)
    read = await client.get(f"{KEYS}/{made['id']}", headers=alice.headers)
    assert read.json() == made
    page = (await client.get(KEYS, params={"count": True}, headers=alice.headers)).json()
    assert (page["items"], page["total"]) == ([made], 1)
    assert key not in read.text
    (event,) = await events(db, "api_key.created")
    assert (event["api_key_id"], event["last4"]) == (made["id"], key[-4:])
    assert key not in str(event)
    used = await client.get(f"{KEYS}/self", headers={"X-API-Key": key})
    assert used.json() == {
        "id": made["id"],
        "organization_id": str(alice.organization_id),
        "scopes": made["scopes"],
        "rate_limit": 1000,
        "expires_at": None,
    }


async def test_key_when_everything_is_said(client: AsyncClient, alice: Persona):
    made = await created(
        client,
        alice,
        permissions=["orders:read", "webhooks:manage", "orders:read"],
        rate_limit=100_000,
        expires_at="2999-12-24T18:00:00+01:00",
        allowed_ips=["203.0.113.5", "198.51.100.0/24", "2001:DB8::/32", "::ffff:192.0.2.1", "203.0.113.5/32"],
        allowed_origins=["https://shop.example.com:443", "http://localhost:3000"],
    )
    assert made["permissions"] == ["orders:read", "webhooks:manage"]
    assert made["expires_at"] == "2999-12-24T17:00:00Z"
    assert made["allowed_ips"] == ["203.0.113.5", "198.51.100.0/24", "2001:db8::/32", "192.0.2.1"]
    assert made["allowed_origins"] == ["https://shop.example.com", "http://localhost:3000"]


BAD: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "x" * 101},
    {"name": "a\nb"},
    {"name": None},
    {"permissions": "read"},
    {"permissions": None},
    {"permissions": [1]},
    {"permissions": ["x" * 65]},
    {"permissions": ["read"] * 101},
    {"rate_limit": 0},
    {"rate_limit": 100_001},
    {"rate_limit": "5"},
    {"rate_limit": True},
    {"rate_limit": 1.5},
    {"expires_at": "tomorrow"},
    {"expires_at": "9999-12-31T23:59:59.999999Z"},
    {"expires_at": "0001-01-01T00:00:00+14:00"},
    {"expires_at": 1},
    {"allowed_ips": ["203.0.113.5/24"]},
    {"allowed_ips": ["203.0.113.256"]},
    {"allowed_ips": ["fe80::1%eth0"]},
    {"allowed_ips": [3405803781]},
    {"allowed_ips": [""]},
    {"allowed_ips": ["10.0.0.1"] * 51},
    {"allowed_origins": ["shop.example.com"]},
    {"allowed_origins": ["https://shop.example.com/"]},
    {"allowed_origins": ["https://Shop.example.com"]},
    {"allowed_origins": ["*"]},
    {"allowed_origins": ["https://a.test"] * 11},
    {"is_active": False},
    {"key_hash": "x"},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
async def test_key_when_a_field_is_not_valid(client: AsyncClient, alice: Persona, bad: dict[str, Any]):
    answer = await create(client, alice, **bad)
    assert code(answer) == (422, "validation_error")
    assert answer.json()["errors"][0]["pointer"].startswith(f"/{next(iter(bad))}")


async def test_key_when_it_would_have_ended_already(client: AsyncClient, alice: Persona):
    past = (clock.now() - timedelta(minutes=1)).isoformat()
    assert code(await create(client, alice, expires_at=past)) == (422, "expiry_in_past")
    made = await created(client, alice)
    answer = await client.patch(f"{KEYS}/{made['id']}", json={"expires_at": past}, headers=alice.headers)
    assert code(answer) == (422, "expiry_in_past")
    assert answer.json()["errors"][0]["pointer"] == "/expires_at"


async def test_key_when_a_scope_is_unknown(client: AsyncClient, alice: Persona):
    for scope in ("orders", "orders:fly", "api_keys:manage", "platform:manage", "READ", ""):
        answer = await create(client, alice, permissions=["orders:read", scope])
        assert code(answer) == (422, "unknown_scope")
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/permissions/1"]


async def test_key_when_nobody_may_give_what_they_lack(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    await limited_plan(db, None)
    keeper = await colleague_with(db, alice, Permission.api_keys_manage)
    answer = await create(client, keeper, permissions=["orders:read"])
    assert code(answer) == (422, "scope_not_grantable")
    made = await created(client, keeper, permissions=["admin"])
    assert made["scopes"] == [], "the words give what the person has"
    owners = await created(client, alice, permissions=["products:read"])
    address = f"{KEYS}/{owners['id']}"
    for words in (["products:read", "orders:read"], ["read"], ["admin"]):
        answer = await client.patch(address, json={"permissions": words}, headers=keeper.headers)
        assert code(answer) == (422, "scope_not_grantable"), words
    answer = await client.patch(address, json={"permissions": []}, headers=keeper.headers)
    assert answer.json()["permissions"] == [], "everybody may take"
    other = await created(client, alice, permissions=["admin"])
    answer = await client.post(f"{KEYS}/{other['id']}/rotate", headers=keeper.headers)
    assert code(answer) == (422, "scope_not_grantable"), "a copy in one's own hands is a gift to oneself"


async def test_scopes_when_they_are_listed(client: AsyncClient, db: SystemSession, alice: Persona):
    listed = (await client.get(f"{KEYS}/scopes", headers=alice.headers)).json()
    assert [item["scope"] for item in listed["items"]] == sorted(OPEN_TO_KEYS)
    assert all(item["grantable"] and item["description"].endswith(".") for item in listed["items"])
    assert (listed["next_cursor"], listed["total"]) == (None, None)
    assert set(listed["legacy"]["read"]) < set(listed["legacy"]["write"]) < set(listed["legacy"]["admin"])
    assert "webhooks:manage" not in listed["legacy"]["admin"]
    assert "orders:write" in listed["legacy"]["write"]
    assert "orders:refund" not in listed["legacy"]["write"]
    keeper = await colleague_with(db, alice, Permission.api_keys_manage)
    listed = (await client.get(f"{KEYS}/scopes", headers=keeper.headers)).json()
    assert not any(item["grantable"] for item in listed["items"])


def test_scopes_when_they_are_compared_with_what_no_key_may_hold() -> None:
    closed = re.compile(
        r"api_keys:|integrations:manage|billing:write|(organization|members):(?!read$)|roles:|security:|sso:"
        r"|branding:|audit:export|platform:"
    )
    assert [scope for scope in OPEN_TO_KEYS if closed.match(scope)] == []
    assert len(OPEN_TO_KEYS) > 20


async def test_key_when_it_is_changed(client: AsyncClient, db: SystemSession, alice: Persona):
    made = await created(client, alice, permissions=["products:read"])
    address = f"{KEYS}/{made['id']}"
    body = {
        "name": "Depot",
        "rate_limit": 7,
        "allowed_ips": ["10.0.0.0/8"],
        "allowed_origins": ["https://a.test"],
    }
    answer = await client.patch(address, json=body, headers=alice.headers)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in body} == body
    assert answer.json()["updated_at"] > made["updated_at"]
    again = await client.put(address, json=body, headers=alice.headers)
    assert again.json() == answer.json(), "nothing differs, so nothing is written"
    (event,) = await events(db, "api_key.updated")
    assert event["changes"] == {
        "name": None,
        "rate_limit": [1000, 7],
        "allowed_ips": None,
        "allowed_origins": [[], ["https://a.test"]],
    }
    assert await may_read(client, made["key"]) == 403
    await client.patch(address, json={"allowed_ips": [], "rate_limit": 100}, headers=alice.headers)
    assert await may_read(client, made["key"]) == 200
    await client.patch(address, json={"is_active": False}, headers=alice.headers)
    assert await may_read(client, made["key"]) == 401
    await client.patch(
        address, json={"is_active": True, "permissions": ["orders:read"]}, headers=alice.headers
    )
    assert await may_read(client, made["key"]) == 403
    for bad in ({"name": None}, {"is_active": "yes"}, {"key": "x"}, {"rate_limit": None}):
        answer = await client.patch(address, json=bad, headers=alice.headers)
        assert code(answer) == (422, "validation_error"), bad


async def test_key_when_it_is_revoked(client: AsyncClient, db: SystemSession, alice: Persona):
    made = await created(client, alice)
    address = f"{KEYS}/{made['id']}"
    assert await may_read(client, made["key"]) == 200
    for _ in range(2):
        assert (await client.delete(address, headers=alice.headers)).status_code == 204
    assert await may_read(client, made["key"]) == 401
    read = (await client.get(address, headers=alice.headers)).json()
    assert (read["is_active"], read["revoke_reason"]) == (False, "manual")
    assert read["revoked_at"] is not None
    for body in ({"is_active": True}, {}):
        answer = await client.patch(address, json=body, headers=alice.headers)
        assert code(answer) == (409, "api_key_revoked")
    assert code(await client.post(f"{address}/rotate", headers=alice.headers)) == (409, "api_key_revoked")
    (event,) = await events(db, "api_key.revoked")
    assert (event["api_key_id"], event["reason"]) == (made["id"], "manual")


async def test_list_when_it_is_filtered(client: AsyncClient, db: SystemSession, alice: Persona):
    kept = await created(client, alice, name="Kept")
    gone = await created(client, alice, name="Gone")
    await client.delete(f"{KEYS}/{gone['id']}", headers=alice.headers)

    async def names(**query: Any) -> list[str]:
        page = (await client.get(KEYS, params=query, headers=alice.headers)).json()
        return [item["name"] for item in page["items"]]

    assert await names() == ["Gone", "Kept"]
    assert await names(is_active=True) == ["Kept"]
    assert await names(is_active=False) == ["Gone"]
    first = (await client.get(KEYS, params={"limit": 1}, headers=alice.headers)).json()
    assert await names(limit=1, cursor=first["next_cursor"]) == ["Kept"]
    assert kept["id"] != gone["id"]


async def test_scopes_when_the_creators_role_changes(client: AsyncClient, db: SystemSession, alice: Persona):
    ben = await make_colleague(db, alice, "ben", role="admin")
    made = await created(client, ben, permissions=["orders:refund", "orders:read"])
    assert made["scopes"] == ["orders:read", "orders:refund"]
    await make_demoted(db, ben, role="viewer")
    shown = (await client.get(f"{KEYS}/{made['id']}", headers=alice.headers)).json()
    assert (shown["permissions"], shown["scopes"]) == (["orders:refund", "orders:read"], ["orders:read"])


async def make_demoted(db: SystemSession, who: Persona, *, role: str) -> None:
    await db.execute(update(TeamMember).where(TeamMember.user_id == who.user_id).values(role=role))
    await db.commit()


async def test_aliases_when_the_key_is_named_in_the_query(client: AsyncClient, alice: Persona):
    made = await created(client, alice)
    for method in ("PATCH", "PUT"):
        answer = await client.request(
            method, KEYS, params={"id": made["id"]}, json={"name": method}, headers=alice.headers
        )
        assert (answer.status_code, answer.json()["name"]) == (200, method)
        for query in ({}, {"id": "x"}):
            refused = await client.request(method, KEYS, params=query, json={}, headers=alice.headers)
            assert code(refused) == (422, "validation_error")
    assert code(await client.delete(KEYS, headers=alice.headers)) == (422, "validation_error")
    assert (await client.delete(KEYS, params={"id": made["id"]}, headers=alice.headers)).status_code == 204
    assert await may_read(client, made["key"]) == 401
    nowhere = {"id": "0197ffff-0000-7000-8000-000000000000"}
    assert code(await client.delete(KEYS, params=nowhere, headers=alice.headers)) == (404, "not_found")


async def test_key_when_it_is_created_twice_with_one_idempotency_key(client: AsyncClient, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    first = await client.post(KEYS, json={"name": "Once"}, headers=headers)
    again = await client.post(KEYS, json={"name": "Once"}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == {**first.json(), "key": None}
    rotated = await client.post(f"{KEYS}/{first.json()['id']}/rotate", json={}, headers=headers)
    repeated = await client.post(f"{KEYS}/{first.json()['id']}/rotate", json={}, headers=headers)
    assert repeated.json() == {**rotated.json(), "key": None}


async def test_writes_when_two_keys_use_one_idempotency_key(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    """What is repeated belongs to one key; another key's request is another request."""
    made = [(await make_api_key_row(db, owner=alice))[1] for _ in range(2)]
    ids = []
    for key in (*made, made[0]):
        answer = await client.post(
            "/api/products",
            json={"name": "Bag", "price": 100},
            headers={"X-API-Key": key, "Idempotency-Key": "same"},
        )
        assert answer.status_code == 201
        ids.append(answer.json()["id"])
    assert ids[0] != ids[1]
    assert ids[0] == ids[2]


async def test_second_check_when_it_is_old(client: AsyncClient, db: SystemSession, alice: Persona):
    made = await created(client, alice)
    old = clock.now() - timedelta(hours=1)
    await db.execute(update(UserSession).where(UserSession.id == alice.session_id).values(step_up_at=old))
    await db.commit()
    assert code(await create(client, alice)) == (401, "step_up_required")
    address = f"{KEYS}/{made['id']}"
    assert code(await client.post(f"{address}/rotate", headers=alice.headers)) == (401, "step_up_required")
    assert (await client.patch(address, json={"name": "A"}, headers=alice.headers)).status_code == 200
    assert (await client.delete(address, headers=alice.headers)).status_code == 204


async def limited_plan(db: SystemSession, count: int | None) -> None:
    plan = await db.get_one(Plan, "free")
    plan.limits = {**plan.limits, "api_keys": count}
    await db.commit()


async def test_plan_when_it_has_no_room(client: AsyncClient, db: SystemSession, alice: Persona):
    await limited_plan(db, 2)
    first = await created(client, alice)
    await created(client, alice)
    answer = await create(client, alice)
    assert code(answer) == (402, "plan_limit_reached")
    told = answer.json()
    assert (told["metric"], told["limit"], told["used"], told["requested"]) == ("api_keys", 2, 2, 1)
    rotated = await client.post(
        f"{KEYS}/{first['id']}/rotate", json={"grace_seconds": 60}, headers=alice.headers
    )
    assert rotated.status_code == 201, "a newer key takes the place of an older one"
    usage = (await client.get("/api/billing/usage", headers=alice.headers)).json()["items"]
    assert [item["used"] for item in usage if item["metric"] == "api_keys"] == [2]
    assert code(await create(client, alice)) == (402, "plan_limit_reached")
    await client.delete(f"{KEYS}/{rotated.json()['id']}", headers=alice.headers)
    assert (await create(client, alice)).status_code == 201


async def test_plan_when_an_expired_key_would_live_again(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    await limited_plan(db, 1)
    past = clock.now() - timedelta(minutes=1)
    key, _ = await make_api_key_row(db, owner=alice, expires_at=past)
    made = await created(client, alice)
    address, later = f"{KEYS}/{key.id}", {"expires_at": None}
    assert code(await client.patch(address, json=later, headers=alice.headers)) == (402, "plan_limit_reached")
    assert code(await client.post(f"{address}/rotate", headers=alice.headers)) == (422, "expiry_in_past")
    await client.delete(f"{KEYS}/{made['id']}", headers=alice.headers)
    assert (await client.patch(address, json=later, headers=alice.headers)).status_code == 200


async def test_keys_when_there_are_a_hundred(client: AsyncClient, db: SystemSession, alice: Persona):
    await limited_plan(db, None)
    key, _ = await make_api_key_row(db, owner=alice)
    for _ in range(98):
        db.add(copy_of(key))
    await db.commit()
    assert (await create(client, alice)).status_code == 201
    assert code(await create(client, alice)) == (409, "too_many_api_keys")
    overlapping = {"grace_seconds": 60}
    answer = await client.post(f"{KEYS}/{key.id}/rotate", json=overlapping, headers=alice.headers)
    assert code(answer) == (409, "too_many_api_keys")
    assert (await client.post(f"{KEYS}/{key.id}/rotate", headers=alice.headers)).status_code == 201


def copy_of(key: ApiKey) -> ApiKey:
    names = ("organization_id", "created_by", "name", "key_prefix", "last4", "permissions")
    return ApiKey(**{name: getattr(key, name) for name in names}, key_hash=secrets.token_bytes(32))
