"""The audit log over HTTP: who sees what of it, how far back, under which names, and that reading is kept."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.core import clock
from app.core.audit import checkpoint_message, is_signed
from app.core.database import Database, SystemSession
from app.models.audit import SYSTEM_CHAIN
from app.services.audit.checkpoints import sign_head
from app.services.audit.personal import destroy_subject_key
from tests.factories.billing import grant_plan
from tests.support.audit import BROWSER, bytes_of, entries, make_entry, tamper
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague

LOG = "/api/audit-logs"


@pytest.fixture
async def admin(db: SystemSession, alice: Persona) -> Persona:
    return await make_colleague(db, alice, "diane", role="admin")


async def ask(client: AsyncClient, who: Persona, path: str = "", **query: Any) -> Response:
    return await client.get(f"{LOG}{path}", headers=who.headers, params=query)


async def items(client: AsyncClient, who: Persona, **query: Any) -> list[dict[str, Any]]:
    answer = await ask(client, who, **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_entry_when_it_is_shown(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    event_id = await make_entry(
        db,
        alice.organization_id,
        actor=alice,
        subject=bob,
        targets=[{"type": "member", "id": str(bob.user_id)}, {"type": "role", "id": "viewer"}],
        changes={"role": ["viewer", "member"], "email": None},
    )
    (row,) = await entries(db, of=alice.organization_id)
    (entry,) = await items(client, alice)
    assert entry["actor"] == {
        "kind": "user",
        "id": str(alice.user_id),
        "name": "Alice",
        "email": alice.email,
        "erased": False,
    }
    assert entry["targets"] == [
        {"type": "member", "id": str(bob.user_id), "name": "Camille", "erased": False},
        {"type": "role", "id": "viewer", "name": None, "erased": False},
    ]
    assert entry["context"] == {
        "ip_address": "192.0.2.7",
        "user_agent": BROWSER,
        "country": None,
        "session_id": None,
        "api_key_id": None,
        "request_id": "r-1",
        "erased": False,
    }
    assert entry["changes"] == {"role": ["viewer", "member"], "email": None}
    assert (entry["id"], entry["seq"], entry["subject_id"]) == (str(event_id), 1, str(bob.user_id))
    assert bytes_of(entry["entry_hash"]) == row.entry_hash
    assert bytes_of(entry["prev_hash"]) == bytes(32)
    single = await ask(client, alice, f"/{event_id}")
    assert single.json() == entry


async def test_entry_when_people_were_erased(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, admin: Persona
) -> None:
    await make_entry(
        db,
        alice.organization_id,
        actor=bob,
        subject=admin,
        targets=[{"type": "member", "id": str(admin.user_id)}],
    )
    for person in (bob, admin):
        await destroy_subject_key(db, person.user_id)
    await db.commit()
    (entry,) = await items(client, alice)
    assert (entry["actor"]["name"], entry["actor"]["email"], entry["actor"]["erased"]) == (None, None, True)
    assert (entry["context"]["ip_address"], entry["context"]["erased"]) == (None, True)
    assert (entry["targets"][0]["name"], entry["targets"][0]["erased"]) == (None, True)
    assert entry["personal"] == {"erased": True}
    assert (await ask(client, alice, "/verify")).json()["ok"] is True


async def test_list_when_others_ask(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    bob: Persona,
    charlie: Persona,
    admin: Persona,
) -> None:
    event_id = await make_entry(db, alice.organization_id, actor=alice)
    await make_entry(db, SYSTEM_CHAIN)
    assert len(await items(client, admin)) == 1
    assert (await client.get(LOG)).status_code == 401
    for path in ("", f"/{event_id}", "/catalog", "/verify", "/checkpoints"):
        assert (await ask(client, bob, path)).status_code == 403
    assert await items(client, charlie) == []
    assert (await ask(client, charlie, f"/{event_id}")).status_code == 404
    into = {**charlie.headers, "X-Organization-Id": str(alice.organization_id)}
    assert (await client.get(LOG, headers=into)).status_code == 404
    nowhere = {**charlie.headers, "X-Organization-Id": str(SYSTEM_CHAIN)}
    assert (await client.get(LOG, headers=nowhere)).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_entry_when_somebody_would_change_it(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str
) -> None:
    event_id = await make_entry(db, alice.organization_id, actor=alice)
    answer = await client.request(method, f"{LOG}/{event_id}", headers=alice.headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("plan", "days", "seen"),
    [("free", 30, 1), ("premium", 90, 2), ("business", 365, 3), ("enterprise", 1095, 4)],
)
async def test_list_when_the_plan_shows_less(
    client: AsyncClient, db: SystemSession, alice: Persona, plan: str, days: int, seen: int
) -> None:
    await grant_plan(db, alice.organization_id, plan)
    now = clock.now()
    ids = [
        await make_entry(db, alice.organization_id, actor=alice, occurred_at=now - timedelta(days=age))
        for age in (1000, 300, 60, 10)
    ]
    answer = await ask(client, alice, **{"from": "2000-01-01T00:00:00Z"}, count=True)
    assert (len(answer.json()["items"]), answer.json()["total"]) == (seen, seen)
    begin = datetime.fromisoformat(answer.headers["x-audit-from"])
    assert abs(now - timedelta(days=days) - begin) < timedelta(minutes=1)
    assert (await ask(client, alice, f"/{ids[-1]}")).status_code == 200
    assert (await ask(client, alice, f"/{ids[0]}")).status_code == (200 if seen == 4 else 404)


async def test_list_when_it_is_filtered(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    now, here = clock.now(), alice.organization_id
    await make_entry(
        db, here, actor=alice, action="team.member_removed", targets=[{"type": "member", "id": "1"}]
    )
    await make_entry(db, here, actor=bob, action="team.role_created", targets=[{"type": "role", "id": "1"}])
    await make_entry(db, here, action="teamwork.begun", outcome="denied", targets=[])
    await make_entry(db, here, actor=alice, action="team.member_removed", occurred_at=now - timedelta(days=5))

    async def found(**query: Any) -> list[int]:
        return [entry["seq"] for entry in await items(client, alice, **query)]

    assert await found() == [4, 3, 2, 1]
    assert await found(action="team.*") == [4, 2, 1]
    assert await found(action="team.role_created") == [2]
    assert await found(action="tea.*") == []
    assert await found(actor_id=str(bob.user_id)) == [2]
    assert await found(actor_kind="system", outcome="denied") == [3]
    assert await found(target_type="role") == [2]
    assert await found(target_type="member", target_id="1") == [1]
    assert await found(target_type="role", target_id="2") == []
    day = (now - timedelta(days=1)).isoformat()
    assert await found(**{"from": day}, action="team.*") == [2, 1]
    assert await found(to=day) == [4]


@pytest.mark.parametrize(
    "query",
    [
        {"action": "team.%"},
        {"action": "Team.*"},
        {"action": "*"},
        {"target_id": "1"},
        {"sort": "seq"},
        {"from": "yesterday"},
        {"from": "2026-01-01"},
        {"actor_id": "x"},
        {"outcome": "maybe"},
        {"ip_address": "192.0.2.1"},
        {"target_type": "\x00"},
        {"cursor": "forged"},
        {"since": "2026-01-01T00:00:00Z"},
    ],
)
async def test_list_when_the_query_is_not_valid(
    client: AsyncClient, alice: Persona, query: dict[str, str]
) -> None:
    assert (await ask(client, alice, **query)).status_code == 422


async def test_list_when_the_range_runs_backwards(client: AsyncClient, alice: Persona) -> None:
    answer = await ask(client, alice, **{"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["code"]) == (422, "range_not_valid")
    odd = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}
    assert (await ask(client, alice, **odd)).status_code == 200


async def test_list_when_it_has_pages(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    for _ in range(5):
        await make_entry(db, alice.organization_id, actor=alice)
    first = (await ask(client, alice, limit=2)).json()
    second = (await ask(client, alice, limit=2, cursor=first["next_cursor"])).json()
    third = (await ask(client, alice, limit=2, cursor=second["next_cursor"])).json()
    seen = [entry["seq"] for page in (first, second, third) for entry in page["items"]]
    assert seen == [5, 4, 3, 2, 1]
    assert third["next_cursor"] is None
    assert [entry["seq"] for entry in await items(client, alice, limit=2, page=2)] == [3, 2]
    other = await ask(client, alice, limit=2, cursor=first["next_cursor"], action="team.*")
    assert other.json()["code"] == "cursor_invalid"


async def test_reading_when_it_is_repeated(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    alice: Persona,
    admin: Persona,
) -> None:
    """Once an hour per reader, whatever they read."""
    await items(client, alice, action="team.*")
    await items(client, alice)
    await items(client, admin)
    await handle_events(database)
    found = await entries(db, "audit.read")
    assert {row.actor_id for row in found} == {alice.user_id, admin.user_id}
    assert len(found) == 2


async def test_verify_when_it_is_asked_for(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    for _ in range(3):
        await make_entry(db, alice.organization_id, actor=alice)
    checkpoint = await sign_head(db, alice.organization_id)
    await db.commit()
    assert checkpoint is not None
    found = (await ask(client, alice, "/verify")).json()
    assert (found["ok"], found["complete"], found["entries"]) == (True, True, 3)
    assert (found["from_seq"], found["to_seq"], found["next_seq"], found["first_bad_seq"]) == (
        1,
        3,
        None,
        None,
    )
    assert found["head_matches"] is True
    assert (found["checkpoint"]["seq"], found["checkpoint"]["matches"]) == (3, True)
    part = (await ask(client, alice, "/verify", from_seq=3)).json()
    assert (part["ok"], part["entries"], part["from_seq"]) == (True, 1, 3)
    for odd in (0, 2**63, "x"):
        assert (await ask(client, alice, "/verify", from_seq=odd)).status_code == 422
    beyond = await ask(client, alice, "/verify", from_seq=5)
    assert (beyond.status_code, beyond.json()["code"]) == (422, "range_not_valid")
    assert (await ask(client, alice, "/verify", from_seq=4)).json()["entries"] == 0
    await handle_events(database)
    assert [row.outcome for row in await entries(db, "audit.verified")] == ["success"] * 3


async def test_verify_when_it_is_asked_for_too_often(
    client: AsyncClient, alice: Persona, admin: Persona
) -> None:
    for who in (alice, admin) * 3:
        assert (await ask(client, who, "/verify")).status_code == 200
    refused = await ask(client, admin, "/verify")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


async def test_mail_when_a_chain_is_broken(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    await make_entry(db, alice.organization_id, actor=alice)
    await tamper(
        db, "UPDATE audit_logs SET action = 'x' WHERE organization_id = :id", id=alice.organization_id
    )
    found = (await ask(client, alice, "/verify")).json()
    assert (found["ok"], found["first_bad_seq"]) == (False, 1)
    await handle_events(database)
    mail = (await client.get("/sandbox/mail.json", params={"to": alice.email})).json()["items"][0]
    assert mail["template"] == "audit_chain_broken"
    assert "1" in mail["text"]


async def test_checkpoint_when_somebody_proves_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_entry(db, alice.organization_id, actor=alice)
    await sign_head(db, alice.organization_id)
    await db.commit()
    (found,) = (await ask(client, alice, "/checkpoints")).json()["items"]
    keys = {key["key_id"]: key for key in (await client.get(f"{LOG}/keys")).json()["keys"]}
    key = keys[found["key_id"]]
    assert key["algorithm"] == "Ed25519"
    message = checkpoint_message(
        alice.organization_id,
        found["seq"],
        bytes_of(found["head_hash"]),
        datetime.fromisoformat(found["signed_at"]),
    )
    assert is_signed(bytes_of(key["public_key"]), bytes_of(found["signature"]), message)
    assert not is_signed(bytes_of(key["public_key"]), bytes_of(found["signature"]), message + b" ")


async def test_catalog_when_it_is_read(client: AsyncClient, alice: Persona) -> None:
    found = (await ask(client, alice, "/catalog", limit=100)).json()["items"]
    by_name = {action["action"]: action for action in found}
    assert {"auth.signed_in", "audit.read", "access.denied"} <= by_name.keys()
    assert by_name["access.denied"]["outcomes"] == ["denied"]
    assert by_name["access.denied"]["target_types"] == ["permission", "route", "reason"]
    assert "ip_address" in by_name["auth.signed_in"]["personal_fields"]


async def test_activity_when_members_look(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    await make_entry(db, alice.organization_id, actor=alice, action="team.member_removed", name="Old name")
    await make_entry(db, alice.organization_id, actor=alice, action="auth.signed_in")
    await make_entry(db, alice.organization_id, action="organization.updated")
    found = (await client.get("/api/team/activity", headers=bob.headers)).json()["items"]
    assert [item["action"] for item in found] == ["organization.updated", "team.member_removed"]
    assert found[0]["actor"] is None
    assert found[1]["actor"] == {"id": str(alice.user_id), "full_name": "Alice", "avatar_url": None}
    assert found[1]["summary"].endswith(".")
    assert "192.0.2.7" not in str(found)
    only = {"action": "auth.signed_in"}
    assert (await client.get("/api/team/activity", headers=bob.headers, params=only)).json()["items"] == []
    theirs = await client.get("/api/team/activity", headers=charlie.headers)
    assert theirs.json()["items"] == []


async def test_security_log_when_people_read_their_own(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    now = clock.now()
    await make_entry(db, bob.organization_id, actor=bob, action="auth.signed_in")
    await make_entry(db, charlie.organization_id, actor=alice, subject=bob, action="team.member_removed")
    await make_entry(
        db, bob.organization_id, actor=bob, action="auth.signed_in", occurred_at=now - timedelta(days=91)
    )
    await make_entry(db, alice.organization_id, actor=alice, action="auth.signed_in")
    answer = await client.get("/api/settings/security-log", headers=bob.headers)
    newest, oldest = answer.json()["items"]
    assert (newest["action"], newest["ip_address"], newest["device"]) == ("team.member_removed", None, None)
    assert (oldest["ip_address"], oldest["device"]) == ("192.0.2.7", "Firefox 130, Linux")
    query: dict[str, Any] = {"action": "auth.*", "limit": 1}
    (one,) = (await client.get("/api/settings/security-log", headers=bob.headers, params=query)).json()[
        "items"
    ]
    assert one["id"] == oldest["id"]
    first = (await client.get("/api/settings/security-log", headers=bob.headers, params={"limit": 1})).json()
    rest = {"limit": 1, "cursor": first["next_cursor"]}
    second = (await client.get("/api/settings/security-log", headers=bob.headers, params=rest)).json()
    assert [page["items"][0]["id"] for page in (first, second)] == [newest["id"], oldest["id"]]


async def test_entry_when_texts_hold_line_breaks(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    agent = "x\r\nfake: entry\t\u2028\x1b[31m"
    await make_entry(db, alice.organization_id, actor=alice, user_agent=agent)
    (entry,) = await items(client, alice)
    assert entry["context"]["user_agent"] == agent
    answer = await ask(client, alice)
    assert "\n" not in answer.text


@pytest.mark.commits
async def test_reading_when_it_happens_all_at_once(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    answers = await asyncio.gather(*(ask(client, alice) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    await handle_events(database)
    assert len(await entries(db, "audit.read")) == 1
