"""Requests of API keys count against the plan, in batches; one that is used up lets no key in."""

from datetime import datetime

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from app.core import clock
from app.core.database import Database, SystemSession, create_engine
from app.core.ids import uuid7
from app.core.key_calls import KeyCalls
from app.models.billing import Plan
from app.services.billing.key_calls import KeyCallMeter, count_calls
from tests.factories.billing import grant_plan
from tests.factories.integrations import make_api_key_row
from tests.support.personas import Persona


@pytest.fixture
def calls(app: FastAPI) -> KeyCalls:
    """The requests that this process has not counted yet."""
    found: KeyCalls = app.state.key_calls
    return found


async def ask(client: AsyncClient, key: str) -> Response:
    return await client.get("/api/products", headers={"X-API-Key": key})


async def used(client: AsyncClient, who: Persona) -> int:
    """What the organisation is told that its keys have used."""
    answer = await client.get("/api/billing/usage", headers=who.headers)
    return next(int(item["used"]) for item in answer.json()["items"] if item["metric"] == "api_calls")


async def limit_calls(db: SystemSession, limit: int) -> None:
    free = await db.get_one(Plan, "free")
    free.limits = {**free.limits, "api_calls": limit}
    await db.commit()


async def test_requests_when_a_batch_is_counted(
    client: AsyncClient, db: SystemSession, database: Database, calls: KeyCalls,
    alice: Persona, charlie: Persona,
) -> None:  # fmt: skip
    """Those of people do not count, nor do those that were refused; nothing counts twice."""
    _, key = await make_api_key_row(db, owner=alice)
    _, other = await make_api_key_row(db, owner=charlie, permissions=["orders:read"])
    for _ in range(3):
        assert (await ask(client, key)).status_code == 200
    assert (await ask(client, other)).status_code == 403
    assert (await client.get("/api/products", headers=alice.headers)).status_code == 200
    assert await used(client, alice) == 0
    await count_calls(database, calls)
    await count_calls(database, calls)
    assert (await used(client, alice), await used(client, charlie)) == (3, 0)


async def test_key_when_the_plan_is_used_up(
    client: AsyncClient, db: SystemSession, database: Database, calls: KeyCalls, alice: Persona
) -> None:
    await limit_calls(db, 2)
    _, key = await make_api_key_row(db, owner=alice)
    for _ in range(3):
        assert (await ask(client, key)).status_code == 200, "a batch refuses from the next one on"
    await count_calls(database, calls)
    for _ in range(2):
        refused = await ask(client, key)
        assert (refused.status_code, refused.json()["code"]) == (402, "quota_exceeded")
    told = refused.json()
    assert (told["metric"], told["limit"], told["used"], told["requested"]) == ("api_calls", 2, 3, 1)
    assert datetime.fromisoformat(told["resets_at"]) > clock.now()
    assert told["upgrade_url"].endswith("/billing/plans")
    assert (await client.get("/api/products", headers=alice.headers)).status_code == 200
    await count_calls(database, calls)
    assert (await ask(client, key)).status_code == 402
    await grant_plan(db, alice.organization_id, "business")
    await count_calls(database, calls)
    assert (await ask(client, key)).status_code == 200
    assert await used(client, alice) == 3


async def test_batch_when_an_organization_is_gone(
    client: AsyncClient, database: Database, calls: KeyCalls, alice: Persona
) -> None:
    for organization_id in (uuid7(), alice.organization_id):
        calls.count(organization_id)
    await count_calls(database, calls)
    assert await used(client, alice) == 1
    assert calls.take() == {}


async def test_batch_when_the_database_is_away(
    client: AsyncClient, database: Database, calls: KeyCalls, alice: Persona
) -> None:
    nowhere = Database(create_engine("postgresql://nobody@127.0.0.1:1/nothing"))
    calls.count(alice.organization_id)
    await count_calls(nowhere, calls)
    calls.count(alice.organization_id)
    await count_calls(database, calls)
    assert await used(client, alice) == 2
    await nowhere.dispose()


async def test_requests_when_the_process_ends(
    client: AsyncClient, database: Database, calls: KeyCalls, alice: Persona
) -> None:
    meter = KeyCallMeter(database, calls)
    await meter.start()
    calls.count(alice.organization_id)
    await meter.stop()
    assert await used(client, alice) == 1
