"""Connecting services over HTTP: the whole way, and whose connection it becomes."""

import html
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.clients.connections.shopify import signature_of
from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.jobs.connections import prune_connections
from app.models.integrations import Integration, IntegrationLog, OAuthState
from app.services.integrations.connections.sealed import access_token
from tests.support.accounts import events
from tests.support.connections import (
    OAUTH_SERVICES,
    SHOP,
    Journey,
    approve,
    approved,
    come_back,
    complete,
    connect,
    connected,
    row_of,
)
from tests.support.personas import Persona, make_colleague


async def count(db: SystemSession, model: Any = Integration) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.parametrize("service", OAUTH_SERVICES)
async def test_connection_when_it_is_approved(
    client: AsyncClient, db: SystemSession, alice: Persona, service: str
) -> None:
    row = await connected(client, alice, service)
    assert (row["service"], row["status"], row["auth_mode"]) == (service, "connected", "oauth2")
    assert row["created_by"] == str(alice.user_id)
    assert row["error_code"] is None
    assert row["external_account_id"]
    assert row["account_label"]
    assert row["scopes"]
    assert not any("token" in name and name != "token_expires_at" for name in row)
    kept = await row_of(db, row["id"])
    token = access_token(kept)
    assert token is not None
    assert token.startswith("sandbox_access_")
    assert (kept.token_expires_at is None) == (service == "stripe")
    assert (kept.next_refresh_at is None) == (service == "stripe")
    read = await client.get(f"/api/integrations/{row['id']}", headers=alice.headers)
    assert read.json() == row
    (event,) = await events(db, "integration.connected")
    assert event == {
        "integration_id": row["id"],
        "service": service,
        "status": "connected",
        "error_code": None,
    }
    (entry,) = (await db.execute(select(IntegrationLog))).scalars()
    assert (entry.kind, entry.is_ok) == ("connect", True)


async def test_question_when_the_browser_is_led_away(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    journey = await connect(client, alice, "google_drive", redirect_after="/settings/integrations?tab=1")
    asked = journey.asked
    assert asked["redirect_uri"] == "http://api.luneo.test/api/integrations/callback/google_drive"
    assert (asked["access_type"], asked["prompt"], asked["response_type"]) == ("offline", "consent", "code")
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert len(asked["state"]) == 43
    page = await client.get(journey.authorize_url)
    assert page.status_code == 200
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    kept = {name: html.unescape(value) for name, value in hidden}
    assert kept == {name: asked[name] for name in kept}
    assert set(kept) == {"client_id", "redirect_uri", "scope", "state", "code_challenge"}
    (state,) = (await db.execute(select(OAuthState))).scalars()
    assert state.session_id == alice.session_id
    assert (await come_back(client, await approve(client, journey)))["path"] == "/settings/integrations"


async def test_slack_when_it_is_asked_without_pkce(client: AsyncClient, alice: Persona) -> None:
    asked = (await connect(client, alice, "slack", scopes=["users:read"])).asked
    assert asked["scope"] == "chat:write,users:read"
    assert "code_challenge" not in asked


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/a//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "evil",
        "/a#b",
        "/a b",
        "/a\nb",
        "/\t/evil.example",
        "javascript:alert(1)",
        "",
    ],
)
async def test_connect_when_it_leads_elsewhere(client: AsyncClient, alice: Persona, path: str) -> None:
    body = {"service": "slack", "redirect_after": path}
    answer = await client.post("/api/integrations/connect", json=body, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "redirect_not_allowed")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"service": "myspace"}, "unknown_service"),
        ({"service": "slack", "scopes": ["admin"]}, "scope_not_allowed"),
        ({"service": "zapier", "scopes": ["chat:write"]}, "scope_not_allowed"),
        ({"service": "slack", "params": {"shop": SHOP}}, "invalid_params"),
        ({"service": "zapier", "params": {"shop": SHOP}}, "invalid_params"),
        ({"service": "shopify"}, "invalid_params"),
        ({"service": "shopify", "params": {"shop": "evil.example"}}, "invalid_params"),
        ({"service": "shopify", "params": {"shop": "a.myshopify.com.evil.example"}}, "invalid_params"),
        ({"service": "shopify", "params": {"shop": "a.myshopify.com\n"}}, "invalid_params"),
        ({"service": "shopify", "params": {"shop": "evil.example/.myshopify.com"}}, "invalid_params"),
        ({"service": "shopify", "params": {"shop": SHOP, "store_url": "x"}}, "invalid_params"),
    ],
)
async def test_connect_when_it_is_not_valid(
    client: AsyncClient, db: SystemSession, alice: Persona, body: dict[str, Any], code: str
) -> None:
    answer = await client.post("/api/integrations/connect", json=body, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await count(db, OAuthState) == 0


async def test_connect_when_production_has_no_client(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "environment", "production")
    answer = await client.post("/api/integrations/connect", json={"service": "slack"}, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "integration_not_configured")
    listed = (await client.get("/api/integrations", headers=alice.headers)).json()["available"]
    assert {item["service"] for item in listed if item["is_configured"]} == {"woocommerce", "zapier"}


async def test_real_service_when_it_is_configured(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "shopify_client_id", "our-id")
    monkeypatch.setattr(get_settings(), "shopify_client_secret", "our-secret")
    journey = await connect(client, alice, "shopify")
    assert journey.authorize_url.startswith(f"https://{SHOP}/admin/oauth/authorize?")
    assert journey.asked["client_id"] == "our-id"
    assert "our-secret" not in journey.authorize_url


async def test_zapier_when_it_is_connected_twice(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    for _ in range(2):
        answer = await client.post(
            "/api/integrations/connect", json={"service": "zapier"}, headers=alice.headers
        )
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/api/integrations/{answer.json()['id']}"
        assert (answer.json()["auth_mode"], answer.json()["account_label"]) == ("inbound", "Zapier")
    assert await count(db) == 1


async def test_callback_when_the_person_denies(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    journey = await connect(client, alice, redirect_after="/here")
    address = await approve(client, journey, decision="deny")
    assert await come_back(client, address) == {"integration_error": "access_denied", "path": "/here"}
    assert await come_back(client, address) == {"integration_error": "state_invalid", "path": "/integrations"}
    assert await count(db) == 0


async def test_callback_when_the_state_is_none_of_ours(client: AsyncClient, alice: Persona) -> None:
    invalid = {"integration_error": "state_invalid", "path": "/integrations"}
    base = "/api/integrations/callback"
    journey = await connect(client, alice)
    for address in (
        f"{base}/slack?code=x&state=guess",
        f"{base}/slack?code=x",
        f"{base}/slack",
        f"{base}/slack?code=x&state={'s' * 5000}",
        f"{base}/slack?code=x&state=%00%ff",
        f"{base}/slack?code=x&state={journey.state}&state={journey.state}",
        f"{base}/figma?code=x&state={journey.state}",
        f"{base}/nobody?code=x&state={journey.state}",
    ):
        assert await come_back(client, address) == invalid
    good = await come_back(client, f"{base}/slack?code=x&state={journey.state}")
    assert "integration_completion" in good
    assert await come_back(client, f"{base}/slack?code=x&state={journey.state}") == invalid


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("error=server_error", "provider_unavailable"),
        ("error=something", "exchange_failed"),
        ("code=", "exchange_failed"),
        (f"code={'c' * 5000}", "exchange_failed"),
    ],
)
async def test_callback_when_there_is_no_code(
    client: AsyncClient, alice: Persona, query: str, error: str
) -> None:
    journey = await connect(client, alice)
    found = await come_back(client, f"/api/integrations/callback/slack?state={journey.state}&{query}")
    assert found["integration_error"] == error


async def test_callback_when_it_takes_too_long(client: AsyncClient, alice: Persona) -> None:
    address = await approve(client, await connect(client, alice))
    with clock.travel(timedelta(minutes=11)):
        assert (await come_back(client, address))["integration_error"] == "state_expired"


async def test_callback_when_a_shop_is_not_signed(client: AsyncClient, alice: Persona) -> None:
    journey = await connect(client, alice, "shopify")
    address = await approve(client, journey)
    invalid = {"integration_error": "state_invalid", "path": "/integrations"}
    query = dict(parse_qsl(urlsplit(address).query))
    without = {name: value for name, value in query.items() if name != "hmac"}
    other = {**without, "shop": "other.myshopify.com"}
    for sent in (
        without,
        {**query, "code": "another"},
        {**query, "hmac": "0" * 64},
        {**query, "hmac": "é"},
        # Signed, but not the shop that was asked for.
        {**other, "hmac": signature_of("luneo-sandbox", other.items())},
    ):
        answer = await client.get("/api/integrations/callback/shopify", params=sent)
        assert await come_back(client, str(answer.request.url)) == invalid
    assert "integration_completion" in await come_back(client, address)


async def test_completion_when_it_comes_twice(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    completion = await approved(client, alice)
    assert (await complete(client, alice, completion)).status_code == 201
    again = await complete(client, alice, completion)
    assert (again.status_code, again.json()["code"]) == (400, "state_invalid")
    guess = await complete(client, alice, "guess")
    assert (guess.status_code, guess.json()["code"]) == (400, "state_invalid")
    assert await count(db) == 1


async def test_completion_when_somebody_else_has_it(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    admin = await make_colleague(db, alice, "dora", role="admin")
    for stranger in (charlie, admin):
        completion = await approved(client, alice)
        answer = await complete(client, stranger, completion)
        assert (answer.status_code, answer.json()["code"]) == (403, "connection_owner_mismatch")
        mine = await complete(client, alice, completion)
        assert (mine.status_code, mine.json()["code"]) == (400, "state_invalid")
    assert await count(db) == 0


async def test_completion_when_it_takes_too_long(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    completion = await approved(client, alice)
    await db.execute(update(OAuthState).values(expires_at=clock.now() - timedelta(hours=1)))
    await db.commit()
    answer = await complete(client, alice, completion)
    assert (answer.status_code, answer.json()["code"]) == (410, "state_expired")
    assert await count(db) == 0


@pytest.mark.parametrize("behaves", ["exchange_refused", "exchange_nonsense"])
async def test_completion_when_the_service_refuses(
    client: AsyncClient, db: SystemSession, alice: Persona, behaves: str
) -> None:
    answer = await complete(client, alice, await approved(client, alice, "hubspot", behaves=behaves))
    assert (answer.status_code, answer.json()["code"]) == (409, "connection_failed")
    assert answer.json()["reason"] == "exchange_failed"
    assert await count(db) == 0


async def test_completion_when_the_service_is_down(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answer = await complete(client, alice, await approved(client, alice, behaves="exchange_down"))
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert "retry-after" in answer.headers
    assert await count(db) == 0


async def test_completion_when_scopes_are_missing(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    completion = await approved(client, alice, "google_drive", behaves="fewer_scopes")
    answer = await complete(client, alice, completion)
    assert (answer.status_code, answer.json()["code"]) == (409, "connection_failed")
    assert answer.json()["reason"] == "scopes_missing"
    assert await count(db) == 0


async def test_connection_when_the_account_is_connected_again(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    first = await connected(client, alice, "google_drive", account="maison")
    named = await client.patch(
        f"/api/integrations/{first['id']}",
        json={"account_label": "Our files", "config": {"folder_id": "abc_1"}},
        headers=alice.headers,
    )
    assert named.status_code == 200
    before = await row_of(db, first["id"])
    version, refresh_token = before.token_version, before.refresh_token_sealed
    # Google gives a refresh token with the first grant only.
    second = await connected(client, alice, "google_drive", account="maison", behaves="no_refresh_token")
    assert second["id"] == first["id"]
    assert (second["account_label"], second["config"]) == ("Our files", {"folder_id": "abc_1"})
    after = await row_of(db, first["id"])
    assert after.token_version == version + 1
    assert after.refresh_token_sealed == refresh_token is not None
    other = await connected(client, alice, "google_drive", account="studio")
    assert other["id"] != first["id"]
    assert await count(db) == 2


async def test_connection_when_another_account_is_approved(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    first = await connected(client, alice, account="maison")
    again = {"integration_id": first["id"]}
    wrong = await complete(client, alice, await approved(client, alice, account="studio", **again))
    assert (wrong.status_code, wrong.json()["code"]) == (409, "account_mismatch")
    right = await complete(client, alice, await approved(client, alice, account="maison", **again))
    assert (right.status_code, right.json()["id"]) == (201, first["id"])
    body = {"service": "figma", **again}
    other = await client.post("/api/integrations/connect", json=body, headers=alice.headers)
    assert (other.status_code, other.json()["code"]) == (409, "account_mismatch")
    body = {"service": "slack", **again}
    foreign = await client.post("/api/integrations/connect", json=body, headers=charlie.headers)
    assert foreign.status_code == 404
    assert await count(db) == 1


async def test_states_when_they_are_over(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    await connect(client, alice)
    await prune_connections(database)
    assert await count(db, OAuthState) == 1
    with clock.travel(timedelta(hours=2)):
        await prune_connections(database)
    assert await count(db, OAuthState) == 0


async def test_sandbox_when_it_is_asked_wrongly(client: AsyncClient, alice: Persona) -> None:
    journey = await connect(client, alice)
    path = urlsplit(journey.authorize_url).path
    wrong = {**journey.asked, "redirect_uri": "https://evil.example/"}
    assert (await client.get(path, params=wrong)).status_code == 400
    decided = await client.get(path.replace("authorize", "decide"), params={**wrong, "decision": "approve"})
    assert decided.status_code == 400
    assert (await client.get("/sandbox/oauth/nobody/authorize", params=journey.asked)).status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_sandbox_when_a_program_asks_over_http(
    client: AsyncClient, alice: Persona, method: str
) -> None:
    journey: Journey = await connect(client, alice, "hubspot")
    code = dict(parse_qsl(urlsplit(await approve(client, journey)).query))["code"]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": journey.asked["redirect_uri"],
        "client_id": "luneo-sandbox",
        "client_secret": "luneo-sandbox",
    }
    tokens = (await client.post("/sandbox/oauth/hubspot/token", data=form)).json()
    again = await client.post("/sandbox/oauth/hubspot/token", data=form)
    assert (again.status_code, again.json()["status"]) == (400, "BAD_AUTH_CODE")
    path = {
        "GET": f"identify/{tokens['access_token']}",
        "POST": "test",
        "DELETE": f"revoke/{tokens['refresh_token']}",
    }[method]
    signed = {"Authorization": f"Bearer {tokens['access_token']}"}
    answer = await client.request(method, f"/sandbox/oauth/hubspot/{path}", headers=signed)
    assert answer.status_code == (204 if method == "DELETE" else 200)
