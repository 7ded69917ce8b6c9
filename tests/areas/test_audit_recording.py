"""How events become entries: which chain, whose data, under whose key."""

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from app.core.database import Database, SystemSession
from app.models.audit import SYSTEM_CHAIN, AuditLog, SubjectKey
from app.services.audit.personal import destroy_subject_key, open_keys, open_part
from tests.factories.accounts import make_member, make_organization, make_user
from tests.factories.billing import grant_plan
from tests.support.accounts import PASSWORD, WRONG, device, pkce, sign_in, sign_up
from tests.support.audit import BROWSER, entries
from tests.support.events import handle_events
from tests.support.personas import Persona

EMAIL = "camille@maison.example"


async def opened(db: SystemSession, entry: AuditLog) -> dict[UUID, dict[str, Any] | None]:
    subjects = [UUID(part["subject"]) for part in entry.personal]
    keys = await open_keys(db, subjects)
    return {UUID(part["subject"]): open_part(keys, entry.id, part) for part in entry.personal}


async def test_entry_when_somebody_signs_in(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    user = await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)
    answer = await client.post(
        "/api/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        headers={"User-Agent": BROWSER, **device()},
    )
    await handle_events(database)
    (entry,) = await entries(db, "auth.signed_in")
    assert entry.organization_id == user.last_organization_id
    assert (entry.outcome, entry.actor_kind, entry.actor_id) == ("success", "user", user.id)
    assert entry.subject_id == user.id
    assert entry.targets[0]["type"] == "session"
    assert entry.context["session_id"] == entry.targets[0]["id"]
    assert entry.context["request_id"] == answer.headers["x-request-id"]
    assert await opened(db, entry) == {
        user.id: {
            "caller": {"ip_address": "127.0.0.1", "user_agent": BROWSER},
            "actor": {"name": "Camille", "email": EMAIL},
            "subject": {"name": "Camille", "email": EMAIL},
        }
    }
    row = await db.get_one(SubjectKey, user.id)
    assert row.key_sealed is not None


async def test_entry_when_a_password_is_wrong(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await sign_in(client, EMAIL, WRONG)
    await handle_events(database)
    (entry,) = await entries(db, "auth.sign_in_failed")
    assert entry.organization_id == user.last_organization_id
    assert (entry.outcome, entry.actor_kind, entry.actor_id) == ("failure", "anonymous", None)
    assert entry.subject_id == user.id
    assert {"type": "reason", "id": "invalid_credentials"} in entry.targets
    part = (await opened(db, entry))[user.id]
    assert part is not None
    assert part["caller"]["ip_address"] == "127.0.0.1"
    assert "actor" not in part


async def test_entry_when_nobody_has_the_address(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    await sign_in(client, "nobody@maison.example", WRONG)
    await handle_events(database)
    (entry,) = await entries(db, "auth.sign_in_failed")
    assert entry.organization_id == SYSTEM_CHAIN
    assert entry.subject_id is None
    assert "nobody@maison.example" not in repr(await opened(db, entry))


@pytest.mark.parametrize(("status", "is_there"), [("active", True), ("suspended", False)])
async def test_chain_when_the_person_works_elsewhere(
    client: AsyncClient, database: Database, db: SystemSession, status: str, is_there: bool
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    own = user.last_organization_id
    organization = await make_organization(db)
    await make_member(db, organization, user=user, status=status)
    user.last_organization_id = organization.id
    await db.commit()
    await sign_in(client, EMAIL, WRONG)
    await handle_events(database)
    (entry,) = await entries(db, "auth.sign_in_failed")
    assert entry.organization_id == (organization.id if is_there else own)


async def test_chain_when_a_signed_in_person_acts_on_themselves(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    await client.post("/api/auth/logout", headers=alice.headers, params={"scope": "others"})
    await handle_events(database)
    (entry,) = await entries(db, "auth.signed_out")
    assert (entry.organization_id, entry.actor_id, entry.subject_id) == (
        alice.organization_id,
        alice.user_id,
        alice.user_id,
    )
    assert {"type": "scope", "id": "others"} in entry.targets


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/api/auth/password/forgot", "auth.password_reset_requested"),
        ("/api/auth/magic-link", "auth.magic_link_requested"),
    ],
)
async def test_entry_when_a_handler_finishes_what_was_asked(
    client: AsyncClient, database: Database, db: SystemSession, path: str, action: str
) -> None:
    """The request's address is kept, although the event comes from a job."""
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    challenge = {"code_challenge": pkce()[1], "code_challenge_method": "S256"}
    body = {"email": EMAIL, **(challenge if "magic" in path else {})}
    assert (await client.post(path, json=body)).status_code == 202
    await handle_events(database)
    (entry,) = await entries(db, action)
    assert (entry.actor_kind, entry.actor_id, entry.subject_id) == ("anonymous", None, user.id)
    part = (await opened(db, entry))[user.id]
    assert part is not None
    assert part["caller"]["ip_address"] == "127.0.0.1"


async def test_entries_when_somebody_signs_up(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    await sign_up(client, EMAIL, full_name="Camille")
    await handle_events(database)
    assert [entry.action for entry in await entries(db)] == ["auth.signed_up"]


async def test_entry_when_somebody_has_no_right(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    for _ in range(3):
        answer = await client.post("/api/products", headers=bob.headers, json={"name": "X", "price": 1})
        assert answer.status_code == 403
    assert (await client.delete(f"/api/products/{alice.user_id}", headers=bob.headers)).status_code == 403
    await handle_events(database)
    first, second = await entries(db, "access.denied")
    assert (first.organization_id, first.actor_id, first.outcome) == (
        alice.organization_id,
        bob.user_id,
        "denied",
    )
    assert first.targets == [
        {"type": "permission", "id": "products:write"},
        {"type": "route", "id": "POST /api/products"},
        {"type": "reason", "id": "permission_denied"},
    ]
    assert {"type": "route", "id": "DELETE /api/products/{product_id}"} in second.targets


async def test_entry_when_a_stranger_asks(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    headers = {**charlie.headers, "X-Organization-Id": str(alice.organization_id)}
    assert (await client.get("/api/products", headers=headers)).status_code == 404
    await handle_events(database)
    assert await entries(db, "access.denied") == []


async def test_entries_when_somebody_widens_a_role(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """The log says what a role gained and lost; of what people wrote it says only that it changed."""
    await grant_plan(db, alice.organization_id, "premium")
    body = {"key": "shop", "name": "Shop", "permissions": ["organization:read"]}
    role = (await client.post("/api/team/roles", json=body, headers=alice.headers)).json()
    where = f"/api/team/roles/{role['id']}"
    wider = {"name": "Till", "permissions": ["organization:read", "orders:refund"]}
    assert (await client.patch(where, json=wider, headers=alice.headers)).status_code == 200
    assert (await client.delete(where, headers=alice.headers)).status_code == 204
    await handle_events(database)
    found = {entry.action: entry.changes for entry in await entries(db) if entry.action[:9] == "team.role"}
    after = ["orders:refund", "organization:read"]
    assert found == {
        "team.role_created": {"permissions": [None, ["organization:read"]]},
        "team.role_updated": {"name": None, "permissions": [["organization:read"], after]},
        "team.role_deleted": {"permissions": [after, None]},
    }


async def test_entries_when_an_organization_and_its_keys_change(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """What people wrote is kept under the key of whoever wrote it; everything else is in the chain."""
    where = f"/api/organizations/{alice.organization_id}"
    renamed = await client.patch(where, json={"name": "Maison Camille"}, headers=alice.headers)
    assert renamed.status_code == 200
    body = {"name": "Warehouse", "permissions": ["orders:read"], "allowed_ips": ["203.0.113.7"]}
    made = await client.post("/api/integrations/api-keys", json=body, headers=alice.headers)
    address = f"/api/integrations/api-keys/{made.json()['id']}"
    change = {"name": "Depot", "rate_limit": 7, "allowed_ips": []}
    assert (await client.patch(address, json=change, headers=alice.headers)).status_code == 200
    invitation = {"email": EMAIL, "role": "viewer", "message": "Welcome"}
    invited = await client.post("/api/team/invite", json=invitation, headers=alice.headers)
    assert invited.status_code == 201
    await handle_events(database)
    found = {entry.action: entry for entry in await entries(db, of=alice.organization_id)}
    assert {action: found[action].changes for action in found if found[action].changes} == {
        "organization.updated": {"name": None},
        "api_key.created": {
            "name": None,
            "permissions": [None, ["orders:read"]],
            "rate_limit": [None, 1000],
            "allowed_ips": None,
        },
        "api_key.updated": {"name": None, "rate_limit": [1000, 7], "allowed_ips": None},
        "team.member_invited": {"role": [None, "viewer"]},
    }
    part = (await opened(db, found["api_key.updated"]))[alice.user_id]
    assert part is not None
    values = {"name": ["Warehouse", "Depot"], "allowed_ips": [["203.0.113.7/32"], []]}
    assert part["kept"] == {"values": values}
    chain = repr([vars(entry) for entry in found.values()])
    for word in ("Maison", "Warehouse", "Depot", "203.0.113.7", EMAIL, "Welcome"):
        assert word not in chain
    await destroy_subject_key(db, alice.user_id)
    assert (await opened(db, found["api_key.updated"]))[alice.user_id] is None
