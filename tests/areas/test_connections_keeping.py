"""Connections as a team keeps them: what it sees, says, tries and ends."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.clients.connections.registry import OAUTH
from app.clients.connections.sandbox.secrets import ACCESS, REFRESH, has_ended, read
from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.connections import prune_connections, revoke_due_grants
from app.models.integrations import IntegrationLog, IntegrationRevocation
from app.services.integrations.connections.sealed import access_token, refresh_token
from tests.factories.connections import make_integration, make_log
from tests.factories.integrations import make_api_key_row
from tests.support.accounts import events
from tests.support.connections import approved, complete, connected, row_of
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague

BASE = "/api/integrations"


async def count(db: SystemSession, model: Any) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def test_list_when_somebody_looks(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    earlier = clock.now() - timedelta(minutes=1)
    slack = await make_integration(db, owner=alice, created_at=earlier)
    ended = await make_integration(db, owner=alice, service="figma", status="disconnected")
    await make_integration(db, owner=charlie)
    page = (await client.get(BASE, headers=alice.headers)).json()
    assert [item["id"] for item in page["items"]] == [str(ended.id), str(slack.id)]
    assert page["items"][0]["last_sync"] is None
    assert {item["service"] for item in page["available"]} == {
        "slack",
        "google_drive",
        "google_analytics",
        "figma",
        "hubspot",
        "stripe",
        "shopify",
        "woocommerce",
        "zapier",
    }
    assert all(item["is_configured"] for item in page["available"])
    for query, found in (({"service": "slack"}, slack), ({"status": "disconnected"}, ended)):
        listed = (await client.get(BASE, params=query, headers=alice.headers)).json()["items"]
        assert [item["id"] for item in listed] == [str(found.id)]
    assert (await client.get(BASE, headers=bob.headers)).status_code == 403
    _, key = await make_api_key_row(db, owner=alice, permissions=["integrations:read"])
    by_key = await client.get(f"{BASE}/{slack.id}", headers={"X-API-Key": key})
    assert by_key.json()["id"] == str(slack.id)
    refused = await client.delete(f"{BASE}/{slack.id}", headers={"X-API-Key": key})
    assert (refused.status_code, refused.json()["code"]) == (403, "user_session_required")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_connection_when_it_is_changed(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str
) -> None:
    row = await make_integration(db, owner=alice)
    body = {"config": {"channel_id": "C024BE91L"}, "account_label": " Our Slack "}
    answer = await client.request(method, f"{BASE}/{row.id}", json=body, headers=alice.headers)
    assert answer.status_code == 200
    assert answer.json()["config"] == {"channel_id": "C024BE91L"}
    assert answer.json()["account_label"] == "Our Slack"
    alias = await client.request(
        method, f"{BASE}?id={row.id}", json={"account_label": "Other"}, headers=alice.headers
    )
    assert (alias.json()["account_label"], alias.json()["config"]) == ("Other", {"channel_id": "C024BE91L"})
    assert (await client.request(method, BASE, json=body, headers=alice.headers)).status_code == 422


@pytest.mark.parametrize(
    "config", [{"channel": "C1"}, {"channel_id": "c 1"}, {"channel_id": 1}, {"channel_id": {"a": "b"}}]
)
async def test_connection_when_its_settings_are_not_known(
    client: AsyncClient, db: SystemSession, alice: Persona, config: dict[str, Any]
) -> None:
    row = await make_integration(db, owner=alice)
    answer = await client.patch(f"{BASE}/{row.id}", json={"config": config}, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_config")


async def test_log_when_it_is_read(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await make_integration(db, owner=alice)
    other = await make_integration(db, owner=alice, service="figma")
    await make_log(db, integration=other)
    first = await make_log(db, integration=row, created_at=clock.now() - timedelta(days=31))
    second = await make_log(db, integration=row, kind="refresh", is_ok=False, error_code="refresh_rejected")
    page = (await client.get(f"{BASE}/{row.id}/logs", headers=alice.headers)).json()
    assert [item["id"] for item in page["items"]] == [str(second.id), str(first.id)]
    one = await client.get(f"{BASE}/{row.id}/logs", params={"kind": "refresh"}, headers=alice.headers)
    assert [item["error_code"] for item in one.json()["items"]] == ["refresh_rejected"]
    await prune_connections(database)
    assert await count(db, IntegrationLog) == 2


@pytest.mark.parametrize(
    "service", ["slack", "google_drive", "google_analytics", "figma", "hubspot", "stripe", "shopify"]
)
async def test_trial_when_the_service_answers(
    client: AsyncClient, db: SystemSession, alice: Persona, service: str
) -> None:
    row = await connected(client, alice, service)
    answer = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert answer.status_code == 200
    assert (answer.json()["ok"], answer.json()["error_code"]) == (True, None)
    kinds = select(IntegrationLog.kind).order_by(IntegrationLog.id)
    assert (await db.scalars(kinds)).all() == ["connect", "test"]


async def test_trial_when_the_token_was_taken_back(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row = await connected(client, alice, "hubspot", behaves="test_refused")
    answer = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert (answer.json()["ok"], answer.json()["error_code"]) == (False, "credentials_rejected")
    kept = await row_of(db, row["id"])
    # It was tried with new tokens first.
    assert (kept.status, kept.error_code, kept.token_version) == ("needs_reauth", "credentials_rejected", 2)
    assert len(await events(db, "integration.needs_reauth")) == 1
    again = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert (again.status_code, again.json()["code"]) == (409, "not_connected")


async def test_trial_when_the_service_is_back(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row = await connected(client, alice, "hubspot", behaves="refresh_down")
    with clock.travel(timedelta(minutes=31)):
        kept = await row_of(db, row["id"])
        assert kept.token_expires_at is not None
        assert kept.token_expires_at < clock.now()
    kept.token_expires_at = clock.now() - timedelta(minutes=1)
    await db.commit()
    answer = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert (answer.json()["ok"], answer.json()["error_code"]) == (False, "provider_unavailable")
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code) == ("error", "provider_unavailable")
    kept.token_expires_at = clock.now() + timedelta(hours=1)
    await db.commit()
    answer = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert answer.json()["ok"] is True
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code) == ("connected", None)


async def test_zapier_when_it_is_tried(client: AsyncClient, alice: Persona) -> None:
    made = await client.post(f"{BASE}/connect", json={"service": "zapier"}, headers=alice.headers)
    answer = await client.post(f"{BASE}/{made.json()['id']}/test", headers=alice.headers)
    assert answer.json()["ok"] is True


@pytest.mark.parametrize("service", ["slack", "google_drive", "hubspot", "stripe", "shopify", "figma"])
async def test_connection_when_it_is_ended(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, service: str
) -> None:
    row = await connected(client, alice, service)
    token = access_token(await row_of(db, row["id"])) or ""
    assert read(ACCESS, token) is not None
    for _ in range(2):
        answer = await client.delete(f"{BASE}/{row['id']}", headers=alice.headers)
        assert (answer.status_code, answer.content) == (204, b"")
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.access_token_sealed, kept.refresh_token_sealed) == ("disconnected", None, None)
    assert kept.disconnected_at is not None
    assert await count(db, IntegrationRevocation) == (0 if service == "figma" else 1)
    assert len(await events(db, "integration.disconnected")) == 1
    await handle_events(database)
    assert await count(db, IntegrationRevocation) == 0
    # The platform tells Stripe the account, and Figma has nothing to be told by.
    assert (read(ACCESS, token) is None) == (service not in ("stripe", "figma"))
    again = await connected(client, alice, service)
    assert (again["id"], again["status"]) == (row["id"], "connected")


@pytest.mark.parametrize("service", ["slack", "shopify"])
async def test_grant_when_its_access_token_has_expired(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, service: str
) -> None:
    """It is ended by a new access token, which the refresh token still gets."""
    row = await connected(client, alice, service)
    facts = read(REFRESH, refresh_token(await row_of(db, row["id"])) or "")
    assert facts is not None
    await client.delete(f"{BASE}/{row['id']}", headers=alice.headers)
    with clock.travel(timedelta(hours=13)):
        await handle_events(database)
    assert has_ended(facts["grant"])
    assert await count(db, IntegrationRevocation) == 0


async def test_connection_when_it_is_ended_by_its_old_address(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    row = await make_integration(db, owner=alice)
    assert (await client.delete(f"{BASE}?id={row.id}", headers=charlie.headers)).status_code == 404
    assert (await client.delete(f"{BASE}?id={row.id}", headers=alice.headers)).status_code == 204
    assert (await client.delete(BASE, headers=alice.headers)).status_code == 422
    assert (await row_of(db, str(row.id))).status == "disconnected"


async def test_revocation_when_the_service_is_down(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, "hubspot", behaves="revoke_down")
    await client.delete(f"{BASE}/{row['id']}", headers=alice.headers)
    await handle_events(database)
    await revoke_due_grants(database)
    for number, hours in enumerate((0.1, 0.5, 2, 9), start=1):
        (waiting,) = (
            await db.scalars(select(IntegrationRevocation).execution_options(populate_existing=True))
        ).all()
        assert waiting.attempts == number
        await db.commit()
        with clock.travel(timedelta(hours=hours)):
            await revoke_due_grants(database)
            await revoke_due_grants(database)
    assert await count(db, IntegrationRevocation) == 0


async def test_revocation_when_the_account_is_connected_again(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="revoke_down")
    await client.delete(f"{BASE}/{row['id']}", headers=alice.headers)
    assert (await connected(client, alice))["id"] == row["id"]
    assert await count(db, IntegrationRevocation) == 0
    await handle_events(database)
    answer = await client.post(f"{BASE}/{row['id']}/test", headers=alice.headers)
    assert answer.json()["ok"] is True


async def test_grant_when_it_cannot_be_given_back_at_once(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.clients.connections.slack.Slack.required_scopes", ("users:read",))
    answer = await complete(client, alice, await approved(client, alice, behaves="revoke_down"))
    assert answer.json()["reason"] == "scopes_missing"
    (waiting,) = (await db.scalars(select(IntegrationRevocation))).all()
    assert (waiting.service, waiting.attempts) == ("slack", 1)
    with clock.travel(timedelta(minutes=2)):
        await revoke_due_grants(database)
    await db.refresh(waiting)
    assert waiting.attempts == 2


@pytest.mark.parametrize(
    ("first", "second"), [("slack", "slack"), ("stripe", "stripe"), ("google_drive", "google_analytics")]
)
async def test_grant_when_another_organisation_lives_by_it(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    charlie: Persona,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    second: str,
) -> None:
    """Slack and Google end everything that an account granted at once, and Stripe knows only accounts."""
    # The sandbox makes the ids of accounts from the service's name; at Google a person is one for all.
    monkeypatch.setattr("app.clients.connections.sandbox.approving.account_id", lambda *_: "1234567")
    hers, his = await connected(client, alice, first), await connected(client, charlie, second)
    revoked: list[str] = []

    async def note(_: object, kept: str) -> None:
        revoked.append(kept)

    for name in {first, second}:
        monkeypatch.setattr(OAUTH[name], "revoke", note)
    await client.delete(f"{BASE}/{hers['id']}", headers=alice.headers)
    await handle_events(database)
    assert (revoked, await count(db, IntegrationRevocation)) == ([], 0)
    await client.delete(f"{BASE}/{his['id']}", headers=charlie.headers)
    await handle_events(database)
    assert (len(revoked), await count(db, IntegrationRevocation)) == (1, 0)


async def test_connection_when_whoever_made_it_leaves(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    dora = await make_colleague(db, alice, "dora", role="admin")
    hers = await connected(client, dora)
    mine = await connected(client, alice, "hubspot")
    members = (await client.get("/api/team/members", headers=alice.headers)).json()["items"]
    (member,) = [item for item in members if item["user_id"] == str(dora.user_id)]
    answer = await client.delete(f"/api/team/members/{member['id']}", headers=alice.headers)
    assert answer.status_code in (200, 204)
    kept = await row_of(db, hers["id"])
    assert (kept.status, kept.error_code) == ("connected", "owner_left")
    assert (await row_of(db, mine["id"])).error_code is None
    # It goes on working, and says so until somebody connects it again.
    assert (await client.post(f"{BASE}/{hers['id']}/test", headers=alice.headers)).json()["ok"] is True
    assert (await client.post(f"{BASE}/{hers['id']}/refresh", headers=alice.headers)).status_code == 200
    assert (await row_of(db, hers["id"])).error_code == "owner_left"
    again = await connected(client, alice)
    assert (again["id"], again["error_code"], again["created_by"]) == (hers["id"], None, str(alice.user_id))
