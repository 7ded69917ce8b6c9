"""Keys under requests at the same time: room in the plan, one rotation, notes of use that hold up nobody."""

import asyncio
from collections import Counter

import pytest
from httpx import AsyncClient
from sqlalchemy import event, func, select

from app.core.database import Database, SystemSession
from app.models.billing import Plan
from app.models.integrations import ApiKey
from tests.factories.integrations import make_api_key_row
from tests.support.personas import Persona

pytestmark = pytest.mark.commits

KEYS = "/api/integrations/api-keys"


async def test_room_when_many_keys_are_made_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    plan = await db.get_one(Plan, "free")
    plan.limits = {**plan.limits, "api_keys": 3}
    await db.commit()
    answers = await asyncio.gather(
        *(client.post(KEYS, json={"name": f"Key {number}"}, headers=alice.headers) for number in range(12))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 402: 9}
    assert await db.scalar(select(func.count()).select_from(ApiKey)) == 3


async def test_rotation_when_two_ask_at_once(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    key, _ = await make_api_key_row(db, owner=alice)
    address = f"{KEYS}/{key.id}/rotate"
    answers = await asyncio.gather(
        *(
            client.post(address, json={"grace_seconds": 60 * (number % 2)}, headers=alice.headers)
            for number in range(6)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 5}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_rotated"}


async def test_revocation_when_requests_run(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """Whatever was asked after the answer to the revocation is refused."""
    key, secret = await make_api_key_row(db, owner=alice)
    early: list[int] = []
    late: list[int] = []
    is_under_way = asyncio.Event()

    async def use() -> None:
        while len(late) < 20:
            seen = late if has_answered else early
            seen.append((await client.get("/api/products", headers={"X-API-Key": secret})).status_code)
            if len(early) >= 20:
                is_under_way.set()

    has_answered = False
    users = [asyncio.create_task(use()) for _ in range(4)]
    await is_under_way.wait()
    assert (await client.delete(f"{KEYS}/{key.id}", headers=alice.headers)).status_code == 204
    has_answered = True
    await asyncio.gather(*users)
    assert early[0] == 200
    assert set(late) == {401}


async def test_use_when_many_requests_come_at_once(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    _, secret = await make_api_key_row(db, owner=alice)
    noted: list[int] = []

    def note(_c, cursor, statement: str, *_rest: object) -> None:
        if "UPDATE api_keys SET last_used_at" in statement:
            noted.append(cursor.rowcount)

    event.listen(database.engine.sync_engine, "after_cursor_execute", note)
    try:
        for _ in range(3):
            answers = await asyncio.gather(
                *(client.get("/api/products", headers={"X-API-Key": secret}) for _ in range(20))
            )
            assert {answer.status_code for answer in answers} == {200}
    finally:
        event.remove(database.engine.sync_engine, "after_cursor_execute", note)
    assert sum(noted) == 1, "one of them writes it"


async def test_use_when_the_row_is_locked(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """Somebody changes the key in a transaction that takes its time; requests do not wait for it."""
    key, secret = await make_api_key_row(db, owner=alice)
    async with database.system() as session:
        await session.execute(select(ApiKey).where(ApiKey.id == key.id).with_for_update())
        async with asyncio.timeout(60):
            answer = await client.get("/api/products", headers={"X-API-Key": secret})
        await session.rollback()
    assert answer.status_code == 200
    await db.refresh(key)
    assert key.last_used_at is None
