"""What must never stand in the audit log: passwords, codes, tokens, keys; nor an address in clear."""

import json
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from app.core.config import get_settings
from app.core.crypto import KeyRing, generate_key_text
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.audit import reseal_subject_keys
from app.jobs.handlers import handle_event
from app.models.audit import AuditLog, SubjectKey
from app.services.audit.personal import destroy_subject_key, open_keys, open_part
from tests.factories.accounts import make_session, make_user, refresh_token_of
from tests.factories.integrations import make_api_key_row
from tests.support.accounts import (
    OTHER_PASSWORD,
    PASSWORD,
    WRONG,
    another,
    bearer,
    link_token,
    mailed_code,
    refresh,
    sign_in,
    sign_up,
)
from tests.support.audit import entries, make_entry
from tests.support.events import handle_events
from tests.support.personas import Persona

EMAIL = "camille@maison.example"
TABLES = ("audit_logs", "audit_inbox", "audit_heads", "audit_checkpoints", "audit_exports")
HANDLED = text("DELETE FROM event_handlings WHERE handler = 'audit'")


async def everything(db: SystemSession) -> tuple[str, str]:
    """All rows as text, and all that is sealed in them, opened."""
    rows = ""
    for table in TABLES:
        for row in await db.execute(text(f"SELECT to_jsonb(t) FROM {table} t")):  # noqa: S608 - the tables stand here
            rows += json.dumps(row[0], ensure_ascii=False)
    opened = ""
    for entry in await entries(db):
        keys = await open_keys(db, [UUID(part["subject"]) for part in entry.personal])
        for part in entry.personal:
            opened += json.dumps(open_part(keys, entry.id, part), ensure_ascii=False)
    return rows, opened


async def test_rows_when_secrets_are_searched_for(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    await sign_up(client, EMAIL, full_name="Camille Secret")
    token, code = await link_token(db, EMAIL), await mailed_code(db, EMAIL)
    await client.post("/api/auth/confirm", json={"email": EMAIL, "code": another(code)})
    await client.post("/api/auth/confirm", json={"token": token})
    opened = (await sign_in(client, EMAIL)).json()
    await sign_in(client, EMAIL, WRONG)
    renewed = (await refresh(client, opened["refresh_token"])).json()
    await refresh(client, opened["refresh_token"])
    again = (await sign_in(client, EMAIL)).json()
    await client.post("/api/auth/step-up", headers=bearer(again), json={"password": PASSWORD})
    await client.post("/api/auth/password/forgot", json={"email": EMAIL})
    body = {"name": "Robot", "permissions": ["read"]}
    made = await client.post("/api/integrations/api-keys", headers=alice.headers, json=body)
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    await client.get("/api/audit-logs", headers={"X-API-Key": key})
    await client.post("/api/auth/logout", headers=bearer(again), params={"scope": "global"})
    await handle_events(database)

    rows, sealed = await everything(db)
    secrets = [PASSWORD, OTHER_PASSWORD, WRONG, token, code, key, alice.token]
    secrets += [tokens[name] for tokens in (opened, again) for name in ("access_token", "refresh_token")]
    secrets += [renewed["access_token"], renewed["refresh_token"]]
    assert len(await entries(db)) > 8
    for secret in secrets:
        assert len(secret) >= 6
        assert secret not in rows
        assert secret not in sealed
    for personal in (EMAIL, "Camille Secret", alice.email, "127.0.0.1"):
        assert personal not in rows, "what is personal stands under a key only"
        assert personal in sealed


async def test_entry_when_a_program_acts(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    key, secret = await make_api_key_row(db, owner=alice, permissions=["audit:read"], name="Warehouse")
    headers = {"X-API-Key": secret, "User-Agent": "robot/1"}
    assert (await client.get("/api/audit-logs", headers=headers)).status_code == 200
    assert (await client.get("/api/products", headers=headers)).status_code == 403
    assert (await client.get("/api/audit-logs/verify", headers=headers)).status_code == 403
    await handle_events(database)
    (read,) = await entries(db, "audit.read")
    assert (read.actor_kind, read.actor_id, read.subject_id) == ("api_key", key.id, None)
    assert read.context["api_key_id"] == str(key.id)
    refused = await entries(db, "access.denied")
    assert {row.actor_id for row in refused} == {key.id}
    assert [row.targets[-1]["id"] for row in refused] == ["insufficient_scope", "user_session_required"]
    shown = (await client.get("/api/audit-logs", headers=headers)).json()["items"]
    own = next(entry for entry in shown if entry["action"] == "audit.read")
    assert own["actor"] == {
        "kind": "api_key",
        "id": str(key.id),
        "name": "Warehouse",
        "email": None,
        "erased": False,
    }
    assert (own["context"]["ip_address"], own["context"]["user_agent"]) == ("127.0.0.1", "robot/1")


@pytest.mark.parametrize("is_chained", [False, True])
async def test_entry_when_the_handler_runs_twice(
    client: AsyncClient, database: Database, db: SystemSession, is_chained: bool
) -> None:
    """Even when what says that it has run is lost."""
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await refresh(client, refresh_token_of(await make_session(db, user)))
    await sign_in(client, EMAIL, WRONG)
    await handle_events(database)
    (entry,) = await entries(db, "auth.sign_in_failed")
    for _ in range(2):
        await handle_event(database, entry.id)
    assert len(await entries(db, "auth.sign_in_failed")) == 1
    if is_chained:
        await db.execute(HANDLED)
        await db.commit()
        await handle_event(database, entry.id)
        await handle_events(database)
    assert len(await entries(db, "auth.sign_in_failed")) == 1


async def test_key_when_the_ring_has_lost_its_root(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await sign_in(client, EMAIL, WRONG)
    await handle_events(database)
    key = await db.get_one(SubjectKey, user.id)
    key.key_sealed = b"\x01\x03old" + bytes(60)
    await db.commit()
    assert await open_keys(db, [user.id]) == {}
    await sign_in(client, EMAIL, WRONG)
    await handle_events(database)
    found: list[AuditLog] = await entries(db, "auth.sign_in_failed")
    assert [len(row.personal) for row in found] == [1, 0]


async def test_keys_when_the_ring_has_a_newer_root(
    db: SystemSession, database: Database, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are moved in the night, and then the old root may go; a destroyed one stays destroyed."""
    await make_entry(db, alice.organization_id, actor=alice)
    gone = uuid7()
    await destroy_subject_key(db, gone)
    await db.commit()
    before = await open_keys(db, [alice.user_id])
    old, new = get_settings().key_ring_text(), generate_key_text()
    monkeypatch.setattr("app.services.audit.resealing.key_ring", lambda: KeyRing.parse(f"{new},{old}"))
    monkeypatch.setattr("app.services.audit.personal.key_ring", lambda: KeyRing.parse(new))
    await db.commit()
    assert await open_keys(db, [alice.user_id]) == {}
    await reseal_subject_keys(database)
    await db.commit()
    assert await open_keys(db, [alice.user_id, gone]) == before
