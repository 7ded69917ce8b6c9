"""What connecting leaves behind: no token, code, state or verifier in clear, in rows or in the log."""

import asyncio
import base64
import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import structlog
from httpx import AsyncClient
from sqlalchemy import func, select, text, update

from app.core.config import get_settings
from app.core.crypto import unseal
from app.core.crypto.keyring import key_ring
from app.core.database import Database, SystemSession
from app.models.integrations import Integration, OAuthState
from app.services.integrations.connections.refreshing import usable_token
from app.services.integrations.connections.sealed import VERIFIER, access_token, refresh_token
from tests.support.accounts import events
from tests.support.connections import approve, approved, come_back, complete, connect, connected, row_of
from tests.support.events import handle_events
from tests.support.personas import Persona

TABLES = text(
    "SELECT quote_ident(table_name) FROM information_schema.tables"
    " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
)


async def dump(db: SystemSession) -> str:
    """Every row of every table as text."""
    parts: list[str] = []
    for table in (await db.execute(TABLES)).scalars().all():
        rows = await db.execute(text(f"SELECT row_to_json(t)::text FROM {table} AS t"))  # noqa: S608
        parts += rows.scalars().all()
    return "\n".join(parts)


async def test_rows_when_services_were_connected(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(get_settings(), "log_level", "DEBUG")
    secrets: list[str] = []
    with structlog.testing.capture_logs() as logged:
        headers = {**alice.headers, "Idempotency-Key": "first"}
        begun = await client.post(
            "/api/integrations/connect", json={"service": "google_drive"}, headers=headers
        )
        asked = dict(parse_qsl(urlsplit(begun.json()["authorize_url"]).query))
        secrets += [asked["state"]]
        again = await client.post(
            "/api/integrations/connect", json={"service": "google_drive"}, headers=headers
        )
        assert again.json()["authorize_url"] is None
        (state,) = (await db.scalars(select(OAuthState))).all()
        assert state.pkce_verifier_sealed is not None
        context = f"{VERIFIER}:{state.id}"
        secrets += [unseal(key_ring(), state.pkce_verifier_sealed, context=context).decode()]
        digest = hashlib.sha256(secrets[-1].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        decided = await client.get(
            "/sandbox/oauth/google_drive/decide", params={**asked, "decision": "approve"}
        )
        address = decided.headers["location"]
        secrets += [dict(parse_qsl(urlsplit(address).query))["code"]]
        completion = (await come_back(client, address))["integration_completion"]
        secrets += [completion]
        rows = await dump(db)
        body = {"completion": completion}
        done = await client.post(
            "/api/integrations/complete", json=body, headers={**alice.headers, "Idempotency-Key": "second"}
        )
        assert done.status_code == 201
        row = await row_of(db, done.json()["id"])
        secrets += [access_token(row) or "", refresh_token(row) or ""]
        await usable_token(database, row.organization_id, row.id, stale_version=row.token_version)
        row = await row_of(db, done.json()["id"])
        secrets += [access_token(row) or ""]
        rows += await dump(db)
        assert (await client.delete(f"/api/integrations/{row.id}", headers=alice.headers)).status_code == 204
        rows += await dump(db)
        await handle_events(database)
        rows += await dump(db)
    printed = capsys.readouterr()
    said = f"{logged}\n{printed.out}\n{printed.err}"
    assert len(secrets) == len(set(secrets)) == 7
    assert str(row.id) in rows
    assert "integration_returned" in said
    for secret in secrets:
        assert len(secret) >= 43
        for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
            assert form not in rows
            assert form not in said
    assert "sandbox_access_" not in rows
    assert "sandbox_code_" not in rows


async def test_credentials_when_they_are_moved_to_another_row(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    """Whoever can write rows cannot make one organisation use another's grant."""
    hers = await connected(client, alice)
    his = await connected(client, charlie)
    source = await row_of(db, hers["id"])
    moved = update(Integration).where(Integration.id == his["id"])
    await db.execute(moved.values(access_token_sealed=source.access_token_sealed))
    await db.commit()
    answer = await client.post(f"/api/integrations/{his['id']}/test", headers=charlie.headers)
    assert (answer.json()["ok"], answer.json()["error_code"]) == (False, "key_unavailable")
    assert (await row_of(db, his["id"])).status == "needs_reauth"


async def count(db: SystemSession) -> int:
    return int(await db.scalar(select(func.count()).select_from(Integration)) or 0)


@pytest.mark.commits
async def test_completions_when_they_come_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    completion = await approved(client, alice)
    answers = await asyncio.gather(*(complete(client, alice, completion) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, *[400] * 7]
    # Two ways to the same account, completed at once, are one connection too.
    tokens = [await approved(client, alice, "hubspot") for _ in range(4)]
    answers = await asyncio.gather(*(complete(client, alice, token) for token in tokens))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(db) == 2
    journey = await connect(client, alice)
    address = await approve(client, journey)
    found: list[dict[str, Any]] = await asyncio.gather(*(come_back(client, address) for _ in range(4)))
    assert sum("integration_completion" in one for one in found) == 1
    assert len(await events(db, "integration.connected")) == 5
