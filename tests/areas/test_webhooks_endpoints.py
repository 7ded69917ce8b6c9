"""Endpoints of webhooks over HTTP: making, reading, changing and deleting them, and their secrets."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update
from standardwebhooks import Webhook

from app.core import clock
from app.core.database import Database, SystemSession
from app.models.auth import UserSession
from app.models.billing import Plan
from app.models.integrations import WebhookEndpoint, WebhookSecret
from app.models.team import TeamMember
from app.services.auth.resealing import reseal_accounts
from app.services.integrations.webhooks import endpoints
from app.services.integrations.webhooks.signing import open_secret, readable
from app.services.integrations.webhooks.upkeep import prune
from tests.factories.accounts import access_token_of, make_session
from tests.factories.integrations import make_api_key_row
from tests.factories.roles import make_role
from tests.factories.webhooks import make_webhook
from tests.support.accounts import events
from tests.support.personas import Persona, make_colleague
from tests.support.webhooks import hooking

WEBHOOKS = "/api/integrations/webhooks"
URL = "https://hooks.example.com/luneo"


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def create(client: AsyncClient, who: Persona, **body: Any) -> Response:
    sent = {"url": URL, "events": ["order.paid"], **body}
    return await client.post(WEBHOOKS, json=sent, headers=who.headers)


async def created(client: AsyncClient, who: Persona, **body: Any) -> dict[str, Any]:
    answer = await create(client, who, **body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def room_for(db: SystemSession, count: int | None) -> None:
    plan = await db.get_one(Plan, "free")
    plan.limits = {**plan.limits, "webhook_endpoints": count}
    await db.commit()


async def test_webhook_when_it_is_made(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await create(
        client, alice, description=" Till ", events=["order.paid", "product.*", "order.paid"]
    )
    made = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{WEBHOOKS}/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    Webhook(secret)
    assert made["url"] == URL
    assert made["events"] == ["order.paid", "product.*"]
    assert (made["status"], made["is_active"], made["circuit"]) == ("active", True, "closed")
    assert (made["description"], made["version"], made["held_count"]) == ("Till", 1, 0)
    assert made["created_by"] == str(alice.user_id)
    shown = await client.get(f"{WEBHOOKS}/{made['id']}", headers=alice.headers)
    assert shown.json() == made
    assert shown.headers["etag"] == '"1"'
    listed = await client.get(WEBHOOKS, headers=alice.headers)
    assert listed.json()["items"] == [made]
    row = (await db.scalars(select(WebhookSecret))).one()
    assert secret.encode() not in row.secret_sealed
    (told,) = await events(db, "webhook_endpoint.created")
    assert told == {
        "webhook_endpoint_id": made["id"],
        "url_host": "hooks.example.com",
        "status": "active",
        "disabled_reason": None,
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/", "scheme_not_allowed"),
        ("https://127.0.0.1/", "host_is_address"),
        ("https://169.254.169.254/latest", "host_is_address"),
        ("https://printer.local/", "host_is_local"),
        ("https://user:pass@hooks.example.com/", "user_info"),
        ("https://hooks.example.com:22/", "port_not_allowed"),
        ("https://hooks.example.com/#x", "fragment"),
        ("nonsense", "not_a_url"),
    ],
)
async def test_url_when_it_is_not_allowed(client: AsyncClient, alice: Persona, url: str, reason: str) -> None:
    answer = await create(client, alice, url=url)
    assert code(answer) == (422, "url_not_allowed")
    assert answer.json()["reason"] == reason
    assert answer.json()["errors"][0]["pointer"] == "/url"


@pytest.mark.parametrize(
    "body",
    [
        {"events": []},
        {"events": ["*"] * 101},
        {"events": [1]},
        {"events": ["a\x00b"]},
        {"events": "order.paid"},
        {"url": "https://hooks.example.com/" + "x" * 2048},
        {"url": None},
        {"is_active": 1},
        {"description": "x" * 201},
        {"secret": "mine"},
    ],
)
async def test_webhook_when_the_body_is_not_valid(
    client: AsyncClient, alice: Persona, body: dict[str, Any]
) -> None:
    assert code(await create(client, alice, **body)) == (422, "validation_error")


async def test_events_when_webhooks_carry_no_such(client: AsyncClient, alice: Persona) -> None:
    answer = await create(client, alice, events=["order.paid", "webhook.ping", "auth.signed_in", "order"])
    assert code(answer) == (422, "unknown_event_type")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/events/1", "/events/2", "/events/3"]


async def webhook_keeper(db: SystemSession, boss: Persona, *rights: str) -> Persona:
    """A colleague with a role that keeps webhooks and products, and has these rights besides."""
    keeper = await make_colleague(db, boss, "keeper")
    wanted = ["webhooks:manage", "products:read", *rights]
    role = await make_role(db, boss.organization_id, permissions=wanted)
    await db.execute(
        update(TeamMember)
        .where(TeamMember.user_id == keeper.user_id, TeamMember.organization_id == boss.organization_id)
        .values(role="custom", team_role_id=role.id)
    )
    await db.commit()
    return keeper


async def test_events_when_the_caller_may_not_read_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Nobody has sent elsewhere what they cannot see, neither at once nor by and by."""
    await room_for(db, None)
    keeper = await webhook_keeper(db, alice)
    for wanted in (["order.*"], ["product.*", "order.paid"], ["*"]):
        refused = await create(client, keeper, events=wanted)
        assert code(refused) == (403, "permission_denied")
        assert "permission" in refused.json()
    made = await created(client, keeper, events=["product.*"])
    added = await client.patch(
        f"{WEBHOOKS}/{made['id']}", json={"events": ["product.*", "order.paid"]}, headers=keeper.headers
    )
    assert code(added) == (403, "permission_denied")
    assert added.json()["permission"] == "orders:read"
    row, _ = await make_webhook(db, owner=alice, events=["order.paid", "product.created"])
    theirs = f"{WEBHOOKS}/{row.id}"
    moved = await client.patch(theirs, json={"url": "https://mine.example.com/"}, headers=keeper.headers)
    assert code(moved) == (403, "permission_denied")
    for harmless in (
        {"description": "Till"},
        {"events": ["order.paid"]},
        {"events": ["order.paid", "product.*"]},
    ):
        answer = await client.patch(theirs, json=harmless, headers=keeper.headers)
        assert answer.status_code == 200, answer.text


async def test_events_when_a_key_asks_for_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A key may have sent what its maker may read: no key can hold all that `*` needs."""
    await room_for(db, None)
    keeper = await webhook_keeper(db, alice)
    _, hers = await make_api_key_row(db, owner=alice, permissions=["webhooks:manage"])
    _, theirs = await make_api_key_row(
        db, owner=alice, created_by=keeper.user_id, permissions=["webhooks:manage"]
    )
    answers = [
        (
            await client.post(WEBHOOKS, json={"url": URL, "events": wanted}, headers={"X-API-Key": key})
        ).status_code
        for key in (hers, theirs)
        for wanted in (["*"], ["order.paid"], ["product.created"])
    ]
    assert answers == [201, 201, 201, 403, 403, 201]


async def test_plan_when_it_has_no_room(client: AsyncClient, alice: Persona) -> None:
    made = await created(client, alice)
    answer = await create(client, alice)
    assert code(answer) == (402, "plan_limit_reached")
    assert (answer.json()["metric"], answer.json()["limit"]) == ("webhook_endpoints", 1)
    assert (await client.delete(f"{WEBHOOKS}/{made['id']}", headers=alice.headers)).status_code == 204
    assert (await create(client, alice)).status_code == 201


async def test_webhooks_when_there_are_too_many(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room_for(db, None)
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 2)
    for _ in range(2):
        await created(client, alice)
    assert code(await create(client, alice)) == (409, "too_many_webhooks")


async def test_webhook_when_it_is_changed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    made = await created(client, alice)
    address = f"{WEBHOOKS}/{made['id']}"
    body = {"url": "https://other.example.com/x", "events": ["*"], "description": None, "version": 1}
    changed = await client.patch(address, json=body, headers=alice.headers)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["url"], changed.json()["version"]) == ("https://other.example.com/x", 2)
    assert changed.headers["etag"] == '"2"'
    (told,) = await events(db, "webhook_endpoint.updated")
    assert told["fields"] == ["events", "url"]
    assert told["url_host"] == "other.example.com"
    same = await client.put(address, json={"events": ["*"]}, headers=alice.headers)
    assert same.json()["version"] == 2
    assert len(await events(db, "webhook_endpoint.updated")) == 1
    stale = await client.patch(address, json={"description": "x", "version": 1}, headers=alice.headers)
    assert code(stale) == (412, "version_mismatch")
    by_tag = await client.patch(
        address, json={"description": "x"}, headers={**alice.headers, "If-Match": '"1"'}
    )
    assert code(by_tag) == (412, "version_mismatch")
    for wrong in ({"url": "http://x.example.com"}, {"events": ["nothing.at_all"]}):
        assert (await client.patch(address, json=wrong, headers=alice.headers)).status_code == 422


async def test_webhook_when_it_is_switched(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    made = await created(client, alice, is_active=False)
    address = f"{WEBHOOKS}/{made['id']}"
    assert made["status"] == "paused"
    for _ in range(2):
        enabled = await client.post(f"{address}/enable", headers=alice.headers)
        assert (enabled.status_code, enabled.json()["status"]) == (200, "active")
    for _ in range(2):
        paused = await client.post(f"{address}/pause", headers=alice.headers)
        assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    by_patch = await client.patch(address, json={"is_active": True}, headers=alice.headers)
    assert by_patch.json()["is_active"] is True
    assert len(await events(db, "webhook_endpoint.enabled")) == 2
    assert len(await events(db, "webhook_endpoint.paused")) == 1


async def test_webhook_when_it_is_disabled(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """A pause leaves the reason; enabling takes it away."""
    row, _ = await make_webhook(db, owner=alice, status="disabled", disabled_reason="gone", circuit="open")
    address = f"{WEBHOOKS}/{row.id}"
    paused = await client.post(f"{address}/pause", headers=alice.headers)
    assert (paused.json()["status"], paused.json()["disabled_reason"]) == ("disabled", "gone")
    enabled = (await client.post(f"{address}/enable", headers=alice.headers)).json()
    assert (enabled["status"], enabled["disabled_reason"], enabled["circuit"]) == ("active", None, "closed")


async def test_webhooks_when_they_are_filtered(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_webhook(db, owner=alice)
    paused, _ = await make_webhook(db, owner=alice, status="paused")
    found = await client.get(WEBHOOKS, params={"status": "paused"}, headers=alice.headers)
    assert [item["id"] for item in found.json()["items"]] == [str(paused.id)]


async def test_aliases_when_the_id_is_in_the_query(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    where = {"id": str(row.id)}
    for method in ("PUT", "PATCH"):
        changed = await client.request(
            method, WEBHOOKS, params=where, json={"description": method}, headers=alice.headers
        )
        assert changed.json()["description"] == method
        missing = await client.request(method, WEBHOOKS, json={"description": "x"}, headers=alice.headers)
        assert missing.status_code == 422
    assert (await client.delete(WEBHOOKS, headers=alice.headers)).status_code == 422
    assert (await client.delete(WEBHOOKS, params=where, headers=alice.headers)).status_code == 204
    assert not (await db.scalars(select(WebhookEndpoint))).all()


async def test_secret_when_it_is_shown_again(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row, secret = await make_webhook(db, owner=alice)
    shown = await client.post(f"{WEBHOOKS}/{row.id}/secret/reveal", headers=alice.headers)
    assert (shown.status_code, shown.json()) == (200, {"secret": secret})
    assert shown.headers["cache-control"] == "no-store"
    assert len(await events(db, "webhook_endpoint.secret_revealed")) == 1


async def test_secret_when_the_second_check_is_old(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    old = clock.now() - timedelta(days=1)
    await db.execute(update(UserSession).where(UserSession.id == alice.session_id).values(step_up_at=old))
    await db.commit()
    for act in ("reveal", "rotate"):
        answer = await client.post(f"{WEBHOOKS}/{row.id}/secret/{act}", headers=alice.headers)
        assert code(answer) == (401, "step_up_required")


async def test_secret_when_a_key_asks(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row, _ = await make_webhook(db, owner=alice)
    _, key = await make_api_key_row(db, owner=alice, permissions=["webhooks:manage"])
    headers = {"X-API-Key": key}
    assert (await client.get(f"{WEBHOOKS}/{row.id}", headers=headers)).status_code == 200
    for act in ("reveal", "rotate"):
        answer = await client.post(f"{WEBHOOKS}/{row.id}/secret/{act}", headers=headers)
        assert code(answer) == (403, "user_session_required")


async def test_secret_when_it_is_rotated(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both sign while the grace lasts, and only the new one afterwards."""
    async with hooking(monkeypatch) as hook:
        row, old = await make_webhook(db, owner=alice, url=hook.url)
        rotate, test = (f"{WEBHOOKS}/{row.id}/{act}" for act in ("secret/rotate", "test"))
        answer = await client.post(rotate, json={"grace_seconds": 60}, headers=alice.headers)
        assert answer.status_code == 200, answer.text
        new = answer.json()["secret"]
        assert (await client.post(test, headers=alice.headers)).json()["ok"] is True
        (headers, body), *_ = hook.requests
        for secret in (old, new):
            Webhook(secret).verify(body, headers)
        hook.forget()
        with clock.travel(timedelta(seconds=61)):
            await client.post(test, headers=alice.headers)
        (headers, _), *_ = hook.requests
        assert len(headers["webhook-signature"].split()) == 1
    newest = await client.post(rotate, json={"grace_seconds": 0}, headers=alice.headers)
    shown = await client.post(f"{WEBHOOKS}/{row.id}/secret/reveal", headers=alice.headers)
    assert shown.json()["secret"] == newest.json()["secret"]
    with clock.travel(timedelta(days=40)):
        await prune(database)
    assert len((await db.scalars(select(WebhookSecret))).all()) == 1


async def test_secrets_when_too_many_are_live(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row, _ = await make_webhook(db, owner=alice)
    rotate = f"{WEBHOOKS}/{row.id}/secret/rotate"
    for _ in range(4):
        assert (await client.post(rotate, headers=alice.headers)).status_code == 200
    assert code(await client.post(rotate, headers=alice.headers)) == (409, "too_many_active_secrets")
    at_once = await client.post(rotate, json={"grace_seconds": 0}, headers=alice.headers)
    assert at_once.status_code == 200
    wrong = await client.post(rotate, json={"grace_seconds": 604_801}, headers=alice.headers)
    assert code(wrong) == (422, "validation_error")


async def test_secret_when_the_ring_gets_a_new_key(
    database: Database, db: SystemSession, alice: Persona, other_keys: Callable[[bool], None]
) -> None:
    _, secret = await make_webhook(db, owner=alice)
    other_keys(True)
    await reseal_accounts(database)
    other_keys(False)
    row = (await db.scalars(select(WebhookSecret).execution_options(populate_existing=True))).one()
    assert open_secret(row) == secret


async def test_secret_when_its_key_has_left_the_ring(
    client: AsyncClient, db: SystemSession, alice: Persona, other_keys: Callable[[bool], None]
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    other_keys(False)
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id)
    await db.commit()
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    for act in ("secret/reveal", "test"):
        answer = await client.post(f"{WEBHOOKS}/{row.id}/{act}", headers=headers)
        assert code(answer) == (503, "key_unavailable")
    rotated = await client.post(f"{WEBHOOKS}/{row.id}/secret/rotate", headers=headers)
    assert rotated.status_code == 200
    shown = await client.post(f"{WEBHOOKS}/{row.id}/secret/reveal", headers=headers)
    assert shown.json()["secret"] == rotated.json()["secret"]
    rows = (await db.scalars(select(WebhookSecret).order_by(WebhookSecret.id))).all()
    assert readable(rows) == [shown.json()["secret"]], "the older one is passed over"


@pytest.mark.commits
async def test_plan_when_two_take_its_last_room(client: AsyncClient, alice: Persona) -> None:
    answers = await asyncio.gather(create(client, alice), create(client, alice))
    assert sorted(answer.status_code for answer in answers) == [201, 402]


async def test_webhook_when_the_request_is_repeated(client: AsyncClient, alice: Persona) -> None:
    headers = {**alice.headers, "Idempotency-Key": "once"}
    body = {"url": URL, "events": ["order.paid"]}
    first, again = [await client.post(WEBHOOKS, json=body, headers=headers) for _ in range(2)]
    assert first.json()["secret"].startswith("whsec_")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == {**first.json(), "secret": None}


async def test_types_when_they_are_listed(client: AsyncClient, alice: Persona) -> None:
    answer = await client.get(f"{WEBHOOKS}/event-types", params={"limit": 100}, headers=alice.headers)
    assert answer.status_code == 200
    named = {item["type"] for item in answer.json()["items"]}
    assert "order.paid" in named
    assert "auth.signed_in" not in named
    assert all(item["webhook"] for item in answer.json()["items"])


async def test_usage_when_there_are_webhooks(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await make_webhook(db, owner=alice)
    usage = await client.get("/api/billing/usage", headers=alice.headers)
    (item,) = [item for item in usage.json()["items"] if item["metric"] == "webhook_endpoints"]
    assert (item["used"], item["limit"]) == (1, 1)
