"""Rotating keys: the overlap, its end, and what a newer key takes over."""

from datetime import timedelta
from typing import Any

from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.integrations import end_overlaps
from app.models.integrations import ApiKey
from app.services.integrations import revoke_keys_of
from tests.factories.integrations import make_api_key_row
from tests.support.accounts import events
from tests.support.personas import Persona, make_colleague

KEYS = "/api/integrations/api-keys"


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def status(client: AsyncClient, key: str) -> int:
    return (await client.get(f"{KEYS}/self", headers={"X-API-Key": key})).status_code


async def rotate(client: AsyncClient, who: Persona, key_id: Any, **body: Any) -> Response:
    return await client.post(f"{KEYS}/{key_id}/rotate", json=body, headers=who.headers)


async def test_key_when_it_is_rotated_at_once(client: AsyncClient, db: SystemSession, alice: Persona):
    later = clock.now() + timedelta(days=30)
    key, old = await make_api_key_row(
        db,
        owner=alice,
        permissions=["orders:read", "products:read"],
        rate_limit=77,
        expires_at=later,
        allowed_ips=["127.0.0.0/8"],
        allowed_origins=["https://a.test"],
    )
    before = (await client.get(f"{KEYS}/{key.id}", headers=alice.headers)).json()
    answer = await client.post(f"{KEYS}/{key.id}/rotate", headers=alice.headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{made['id']}"
    own = {"id", "key", "key_prefix", "last4", "rotated_from", "created_at", "updated_at"}
    assert {name: value for name, value in made.items() if name not in own} == {
        name: value for name, value in before.items() if name not in own
    }
    assert made["rotated_from"] == str(key.id)
    assert (await status(client, old), await status(client, made["key"])) == (401, 200)
    older = (await client.get(f"{KEYS}/{key.id}", headers=alice.headers)).json()
    assert (older["revoke_reason"], older["is_active"]) == ("rotated", False)
    (rotated,) = await events(db, "api_key.rotated")
    assert (rotated["api_key_id"], rotated["rotated_from"]) == (made["id"], str(key.id))
    (revoked,) = await events(db, "api_key.revoked")
    assert (revoked["api_key_id"], revoked["reason"]) == (str(key.id), "rotated")
    assert code(await rotate(client, alice, key.id)) == (409, "already_rotated")


async def test_keys_when_they_overlap(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
):
    key, old = await make_api_key_row(db, owner=alice)
    answer = await rotate(client, alice, key.id, grace_seconds=3600)
    made = answer.json()
    older = (await client.get(f"{KEYS}/{key.id}", headers=alice.headers)).json()
    assert (older["revoked_at"], older["is_active"]) == (None, True)
    assert older["grace_until"] is not None
    assert (await status(client, old), await status(client, made["key"])) == (200, 200)
    assert code(await rotate(client, alice, key.id)) == (409, "already_rotated")
    with clock.travel(timedelta(seconds=3540)):
        assert await status(client, old) == 200
    with clock.travel(timedelta(seconds=3601)):
        assert (await status(client, old), await status(client, made["key"])) == (401, 200)
        await end_overlaps(database)
    kept = await db.get_one(ApiKey, (alice.organization_id, key.id), populate_existing=True)
    assert (kept.revoke_reason, kept.revoked_at) == ("rotated", kept.grace_until)
    assert [event["api_key_id"] for event in await events(db, "api_key.revoked")] == [str(key.id)]
    await end_overlaps(database)
    assert len(await events(db, "api_key.revoked")) == 1


async def test_key_when_it_is_changed_around_the_end_of_its_grace(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    """What may be changed depends on the clock, and not on whether the nightly job has passed."""
    key, _ = await make_api_key_row(db, owner=alice)
    await rotate(client, alice, key.id, grace_seconds=60)
    with clock.travel(timedelta(seconds=30)):
        kept = await client.patch(f"{KEYS}/{key.id}", json={"name": "kept"}, headers=alice.headers)
        assert kept.status_code == 200
    with clock.travel(timedelta(seconds=61)):
        late = await client.patch(f"{KEYS}/{key.id}", json={"name": "late"}, headers=alice.headers)
        assert code(late) == (409, "api_key_revoked")


async def test_overlap_when_it_is_cut_short(client: AsyncClient, db: SystemSession, alice: Persona):
    key, old = await make_api_key_row(db, owner=alice)
    await rotate(client, alice, key.id, grace_seconds=3600)
    assert (await client.delete(f"{KEYS}/{key.id}", headers=alice.headers)).status_code == 204
    assert await status(client, old) == 401


async def test_grace_when_it_is_not_valid(client: AsyncClient, db: SystemSession, alice: Persona):
    key, old = await make_api_key_row(db, owner=alice)
    for bad in (-1, 2_592_001, "5", True, None, 1.5):
        assert code(await rotate(client, alice, key.id, grace_seconds=bad)) == (422, "validation_error")
    assert await status(client, old) == 200
    assert (await rotate(client, alice, key.id, grace_seconds=2_592_000)).status_code == 201


async def test_key_when_a_colleague_rotates_it(client: AsyncClient, db: SystemSession, alice: Persona):
    """The newer key is the colleague's: what they may do decides from then on."""
    ben = await make_colleague(db, alice, "ben", role="admin")
    key, _ = await make_api_key_row(db, owner=alice, permissions=["admin"])
    made = (await rotate(client, ben, key.id)).json()
    assert made["created_by"] == str(ben.user_id)
    assert await status(client, made["key"]) == 200


async def test_keys_when_a_person_leaves(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
):
    ben = await make_colleague(db, alice, "ben", role="admin")
    made = [await make_api_key_row(db, owner=alice, created_by=ben.user_id) for _ in range(2)]
    _, hers = await make_api_key_row(db, owner=alice)
    elsewhere, his = await make_api_key_row(db, owner=charlie, created_by=charlie.user_id)
    async with database.acting(alice.principal) as session:
        assert await revoke_keys_of(session, alice.organization_id, ben.user_id, "member_removed") == 2
        assert await revoke_keys_of(session, alice.organization_id, ben.user_id, "member_removed") == 0
        assert await revoke_keys_of(session, charlie.organization_id, charlie.user_id, "manual") == 0
    assert [await status(client, key) for _, key in made] == [401, 401]
    assert (await status(client, hers), await status(client, his)) == (200, 200)
    told = await events(db, "api_key.revoked")
    assert {event["api_key_id"] for event in told} == {str(key.id) for key, _ in made}
    assert {event["reason"] for event in told} == {"member_removed"}
    rows = (await db.scalars(select(ApiKey).where(ApiKey.revoked_by == alice.user_id))).all()
    assert {row.id for row in rows} == {key.id for key, _ in made}
    assert elsewhere.revoked_at is None
