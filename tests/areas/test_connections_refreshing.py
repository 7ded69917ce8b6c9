"""Tokens of connections: one refresh for however many, and no grant lost that is alive."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.clients.connections.sandbox import SandboxCaller
from app.core import clock
from app.core.config import get_settings
from app.core.crypto import generate_key_text, key_ring
from app.core.database import Database, SystemSession
from app.core.errors import AppError
from app.jobs.connections import refresh_due_tokens
from app.models.integrations import Integration, IntegrationLog
from app.models.notifications import Email, Notification
from app.services.auth.resealing import reseal_accounts
from app.services.integrations.connections.refreshing import mark_lost, renew, take_lease, usable_token
from tests.support.accounts import events
from tests.support.connections import connected, row_of
from tests.support.events import handle_events
from tests.support.personas import Persona


async def ask(database: Database, who: Persona, row: dict[str, Any], **more: Any) -> str:
    """The token that somebody gets who needs one now, or the code of the refusal."""
    try:
        return (await usable_token(database, who.organization_id, UUID(row["id"]), **more)).value
    except AppError as error:
        return error.code


async def refreshes(db: SystemSession) -> list[IntegrationLog]:
    statement = select(IntegrationLog).where(IntegrationLog.kind == "refresh").order_by(IntegrationLog.id)
    return list((await db.execute(statement)).scalars())


async def set_due(db: SystemSession, row: dict[str, Any], **more: Any) -> Integration:
    """Let a token have a minute left."""
    kept = await row_of(db, row["id"])
    kept.token_expires_at = clock.now() + timedelta(minutes=1)
    kept.next_refresh_at = clock.now() - timedelta(minutes=1)
    for name, value in more.items():
        setattr(kept, name, value)
    await db.commit()
    return kept


@pytest.mark.commits
async def test_refresh_when_fifty_need_one_token(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="expires_soon")
    got = await asyncio.gather(*(ask(database, alice, row) for _ in range(50)))
    assert len(set(got)) == 1
    assert got[0].startswith("sandbox_access_")
    assert (await row_of(db, row["id"])).token_version == 2
    assert len(await refreshes(db)) == 1


async def test_token_when_it_has_time_left(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice)
    assert await ask(database, alice, row) == await ask(database, alice, row)
    assert await refreshes(db) == []


@pytest.mark.parametrize("service", ["slack", "google_drive", "figma", "hubspot", "shopify"])
async def test_refresh_when_a_service_has_its_own_way(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, service: str
) -> None:
    row = await connected(client, alice, service)
    before = await set_due(db, row)
    refresh_token = before.refresh_token_sealed
    first = await ask(database, alice, row)
    await set_due(db, row)
    second = await ask(database, alice, row)
    assert first != second
    kept = await row_of(db, row["id"])
    assert (kept.token_version, kept.status, kept.refresh_failures) == (3, "connected", 0)
    assert kept.refresh_lease_until is None
    # Slack and Shopify give another refresh token each time; the others mean the first to stay.
    assert (kept.refresh_token_sealed != refresh_token) == (service in ("slack", "shopify"))
    assert [entry.is_ok for entry in await refreshes(db)] == [True, True]


async def test_loser_when_the_winner_has_the_new_pair(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice)
    slow = await take_lease(database, await set_due(db, row))
    assert slow is not None
    with clock.travel(timedelta(seconds=61)):
        won = await ask(database, alice, row)
        # Slack's refresh token was good once: the slow one is told `invalid_refresh_token`.
        assert await renew(database, slow) is None
        assert await ask(database, alice, row) == won
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.token_version) == ("connected", 2)
    assert await events(db, "integration.needs_reauth") == []


async def test_loser_when_the_winner_is_still_at_it(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="refresh_gone")
    slow = await take_lease(database, await set_due(db, row))
    assert slow is not None
    with clock.travel(timedelta(seconds=61)):
        assert await take_lease(database, slow) is not None
        assert await renew(database, slow) is None
    assert (await row_of(db, row["id"])).status == "connected"


async def test_winner_when_the_tokens_have_moved_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """Where refresh tokens stay good, both get a pair: the first is kept."""
    row = await connected(client, alice, "google_drive")
    slow = await take_lease(database, await set_due(db, row))
    assert slow is not None
    with clock.travel(timedelta(seconds=61)):
        won = await ask(database, alice, row)
        assert await renew(database, slow) is None
        assert await ask(database, alice, row) == won
    assert (await row_of(db, row["id"])).token_version == 2


async def test_lease_when_its_worker_was_killed(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = await connected(client, alice)
    due = await set_due(db, row)
    assert await take_lease(database, due) is not None
    # Nobody comes back with it: for a minute others wait in vain, then one of them takes it.
    monkeypatch.setattr("app.services.integrations.connections.refreshing.PATIENCE_SECONDS", 0.0)
    assert await ask(database, alice, row) == "provider_unavailable"
    with clock.travel(timedelta(seconds=61)):
        assert (await ask(database, alice, row)).startswith("sandbox_access_")
    assert len(await refreshes(db)) == 1


async def test_refresh_when_the_grant_is_gone(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="refresh_gone")
    await set_due(db, row)
    assert await ask(database, alice, row) == "reauthorization_required"
    assert await ask(database, alice, row) == "reauthorization_required"
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code, kept.next_refresh_at) == ("needs_reauth", "refresh_rejected", None)
    assert kept.error_message is not None
    (event,) = await events(db, "integration.needs_reauth")
    assert (event["status"], event["error_code"]) == ("needs_reauth", "refresh_rejected")
    (entry,) = await refreshes(db)
    assert (entry.is_ok, entry.error_code) == (False, "refresh_rejected")
    again = await connected(client, alice, integration_id=row["id"])
    assert (again["id"], again["status"], again["error_code"]) == (row["id"], "connected", None)


@pytest.mark.parametrize(
    ("behaves", "code", "seconds"),
    [("refresh_down", "provider_unavailable", 60), ("refresh_limited", "provider_rate_limited", 60)],
)
async def test_refresh_when_the_service_does_not_answer(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    behaves: str,
    code: str,
    seconds: int,
) -> None:
    row = await connected(client, alice, "hubspot", behaves=behaves)
    tokens = (await set_due(db, row)).refresh_token_sealed
    assert await ask(database, alice, row) == "provider_unavailable"
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code, kept.refresh_failures) == ("error", code, 1)
    assert kept.refresh_token_sealed == tokens
    assert kept.refresh_lease_until is None
    assert kept.next_refresh_at is not None
    assert kept.next_refresh_at > clock.now() + timedelta(seconds=seconds - 30)
    # While it is put off, the service is left alone and the old token serves to its end.
    assert (await ask(database, alice, row)).startswith("sandbox_access_")
    with clock.travel(timedelta(minutes=1, seconds=1)):
        await ask(database, alice, row)
        assert (await row_of(db, row["id"])).refresh_failures == 2
    assert len(await refreshes(db)) == 2
    assert await events(db, "integration.needs_reauth") == []


async def test_back_off_when_it_has_failed_often(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, "hubspot", behaves="refresh_down")
    await set_due(db, row, refresh_failures=3000)
    await refresh_due_tokens(database)
    kept = await row_of(db, row["id"])
    assert kept.next_refresh_at is not None
    assert kept.next_refresh_at <= clock.now() + timedelta(hours=1)
    assert kept.refresh_failures == 3001


async def test_job_when_tokens_expire_or_rest(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    soon = await connected(client, alice, "hubspot")
    long = await connected(client, charlie, "figma")
    never = await connected(client, alice, "stripe")
    await refresh_due_tokens(database)
    assert await refreshes(db) == []
    with clock.travel(timedelta(minutes=16)):
        await refresh_due_tokens(database)
    assert [entry.integration_id for entry in await refreshes(db)] == [UUID(soon["id"])]
    with clock.travel(timedelta(hours=24, minutes=1)):
        await refresh_due_tokens(database)
    assert (await row_of(db, long["id"])).token_version == 2
    assert (await row_of(db, never["id"])).token_version == 1


async def test_job_when_a_failing_service_is_back(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice)
    await set_due(db, row, status="error", error_code="provider_unavailable", refresh_failures=2)
    await refresh_due_tokens(database)
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code, kept.refresh_failures) == ("connected", None, 0)


async def test_expiry_when_the_service_does_not_tell(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="expiry_unknown")
    assert row["token_expires_at"] is None
    first = await ask(database, alice, row)
    assert await ask(database, alice, row) == first
    kept = await row_of(db, row["id"])
    assert await ask(database, alice, row, stale_version=kept.token_version) != first


async def test_token_when_there_is_nothing_to_refresh_by(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    row = await connected(client, alice, behaves="no_refresh_token")
    await set_due(db, row)
    assert (await ask(database, alice, row)).startswith("sandbox_access_")
    with clock.travel(timedelta(minutes=2)):
        assert await ask(database, alice, row) == "reauthorization_required"


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the key ring, and puts the old one back."""

    def use(*entries: str) -> None:
        monkeypatch.setattr(get_settings(), "secret_keys", ",".join(entries))
        key_ring.cache_clear()

    yield use
    monkeypatch.undo()
    key_ring.cache_clear()


async def test_token_when_its_key_left_the_ring(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, rings: Any
) -> None:
    first = await connected(client, alice)
    second = await connected(client, alice, "hubspot")
    await set_due(db, second)
    rings(generate_key_text())
    for row in (first, second):
        assert await ask(database, alice, row) == "reauthorization_required"
        kept = await row_of(db, row["id"])
        assert (kept.status, kept.error_code) == ("needs_reauth", "key_unavailable")
    assert len(await events(db, "integration.needs_reauth")) == 2


async def test_credentials_when_the_ring_has_a_new_key(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, rings: Any
) -> None:
    row = await connected(client, alice)
    token = await ask(database, alice, row)
    old, new = get_settings().key_ring_text(), generate_key_text()
    rings(new, old)
    # Both tokens, and the key of the session of whoever connected.
    assert await reseal_accounts(database) == 3
    rings(new)
    assert await ask(database, alice, row) == token


async def test_refresh_route_when_it_is_asked(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row = await connected(client, alice)
    answer = await client.post(f"/api/integrations/{row['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "connected")
    assert (await row_of(db, row["id"])).token_version == 2
    # Somebody else asks as well, a moment later.
    answer = await client.post(f"/api/integrations/{row['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, (await row_of(db, row["id"])).token_version) == (200, 2)
    with clock.travel(timedelta(seconds=6)):
        answer = await client.post(f"/api/integrations/{row['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, (await row_of(db, row["id"])).token_version) == (200, 3)
    down = await connected(client, alice, "hubspot", behaves="refresh_down")
    answer = await client.post(f"/api/integrations/{down['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    gone = await connected(client, alice, "figma", behaves="refresh_gone")
    for _ in range(2):
        answer = await client.post(f"/api/integrations/{gone['id']}/refresh", headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "reauthorization_required")
    bare = await connected(client, alice, "google_drive", behaves="no_refresh_token")
    answer = await client.post(f"/api/integrations/{bare['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "refresh_not_supported")
    zapier = await client.post("/api/integrations/connect", json={"service": "zapier"}, headers=alice.headers)
    answer = await client.post(f"/api/integrations/{zapier.json()['id']}/refresh", headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "refresh_not_supported")


async def test_refresh_when_the_operator_took_the_client_away(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = await connected(client, alice)
    await set_due(db, row)
    monkeypatch.setattr(get_settings(), "environment", "production")
    assert await ask(database, alice, row) == "integration_not_configured"
    await refresh_due_tokens(database)
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.error_code, kept.refresh_failures) == ("error", "provider_unavailable", 1)
    assert kept.refresh_token_sealed is not None


async def test_lease_when_its_holder_is_cut_off(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that stops while the service has the question leaves the connection as it was."""
    row = await connected(client, alice)
    await set_due(db, row)
    is_asked = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as slow:
        slow.setattr(SandboxCaller, "send", hang)
        worker = asyncio.ensure_future(ask(database, alice, row))
        await is_asked.wait()
        # No transaction is open meanwhile: others read and write the row.
        kept = await row_of(db, row["id"])
        assert kept.refresh_lease_by is not None
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    with clock.travel(timedelta(seconds=61)):
        assert (await ask(database, alice, row)).startswith("sandbox_access_")
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.token_version, kept.refresh_lease_by) == ("connected", 2, None)


async def test_notice_when_a_grant_is_lost_twice_in_a_day(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    bob: Persona,
) -> None:
    async def lose() -> None:
        row = await connected(client, alice, behaves="refresh_gone")
        await set_due(db, row)
        assert await ask(database, alice, row) == "reauthorization_required"
        await handle_events(database)

    async def revive(db: SystemSession, row: Integration) -> Integration:
        row.status = "connected"
        await db.commit()
        return row

    async def told(table: Any) -> int:
        return int(await db.scalar(select(func.count()).select_from(table)) or 0)

    await lose()
    await lose()
    # To those who may connect it again, and neither twice nor to others.
    assert (await told(Notification), await told(Email)) == (1, 1)
    assert bob.organization_id == alice.organization_id
    with clock.travel(timedelta(hours=24, minutes=1)):
        (row,) = (await db.execute(select(Integration))).scalars()
        await mark_lost(database, await revive(db, row), "refresh_rejected")
        await handle_events(database)
    assert (await told(Notification), await told(Email)) == (2, 2)
