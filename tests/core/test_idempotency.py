"""Repeating a write: one effect and one answer per key, however often and at whatever moment."""

import asyncio
import hashlib
import json
from datetime import timedelta

import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import func, select
from sqlalchemy.pool import QueuePool

from app.core import clock, errors, idempotency
from app.core.crypto import key_ring, mac_matches
from app.core.database import Database, SystemSession, Unscoped, owner_session, system_session
from app.core.idempotency import IdempotencyRecord, mask
from app.core.openapi import marker_of
from app.core.routes import api_routes, dependencies_of
from app.models.products import Product
from tests.support.personas import Persona, make_colleague

BAG = {"name": "Bag", "price": 12345, "stock": 3}


async def products_of(db: SystemSession, owner: Persona) -> int:
    found = select(func.count()).select_from(Product).where(Product.organization_id == owner.organization_id)
    return (await db.scalar(found)) or 0


async def test_repeat_when_key_and_body_are_the_same(client: AsyncClient, db: SystemSession, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    first = await client.post("/api/products", headers=headers, json=BAG)
    again = await client.post("/api/products", headers=headers, json=BAG)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert await products_of(db, alice) == 1


async def test_record_when_the_body_holds_a_password_cannot_be_guessed_from(
    client: AsyncClient, db: SystemSession
):
    body = json.dumps({"email": "nobody@maison.example", "password": "velvet-anvil-7391"}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "one"}
    answer = await client.post("/api/auth/signup", headers=headers, content=body)
    assert answer.status_code == 202
    kept = (await db.execute(select(IdempotencyRecord.fingerprint))).scalar_one()
    digest = hashlib.sha256(body).digest()
    assert kept != digest
    assert mac_matches(key_ring(), "idempotency", digest, kept)


async def test_repeat_when_the_body_is_another(client: AsyncClient, db: SystemSession, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    await client.post("/api/products", headers=headers, json=BAG)
    answer = await client.post("/api/products", headers=headers, json={**BAG, "price": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await products_of(db, alice) == 1


async def test_repeat_when_the_first_was_refused_runs_again(client: AsyncClient, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    sku = {**BAG, "sku": "A-1"}
    await client.post("/api/products", headers=alice.headers, json=sku)
    refused = await client.post("/api/products", headers=headers, json={**sku, "name": "Other"})
    assert refused.status_code == 409
    again = await client.post("/api/products", headers=headers, json={**sku, "sku": "A-2"})
    assert again.status_code == 201


async def test_key_when_another_person_uses_the_same(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
):
    manager = await make_colleague(db, alice, "mona", role="manager")
    answers = [
        await client.post("/api/products", headers={**who.headers, "Idempotency-Key": "one"}, json=BAG)
        for who in (alice, charlie, manager)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 3


async def test_key_when_a_day_has_passed(client: AsyncClient, db: SystemSession, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    await client.post("/api/products", headers=headers, json=BAG)
    record = (await db.scalars(select(IdempotencyRecord))).one()
    record.expires_at = clock.now() - timedelta(minutes=1)
    await db.commit()
    again = await client.post("/api/products", headers=headers, json=BAG)
    assert again.status_code == 201
    assert "idempotency-replayed" not in again.headers
    assert await products_of(db, alice) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_key_when_it_is_no_key(client: AsyncClient, alice: Persona, key: str):
    answer = await client.post("/api/products", headers={**alice.headers, "Idempotency-Key": key}, json=BAG)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_invalid")


async def test_key_when_the_caller_lost_the_right(client: AsyncClient, bob: Persona):
    answer = await client.post("/api/products", headers={**bob.headers, "Idempotency-Key": "one"}, json=BAG)
    assert answer.status_code == 403


@pytest.mark.commits
async def test_fifty_at_once_when_the_key_is_one(client: AsyncClient, db: SystemSession, alice: Persona):
    headers = {**alice.headers, "Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(client.post("/api/products", headers=headers, json=BAG) for _ in range(50))
    )
    made = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(made) + len(waiting) == 50
    assert len({answer.json()["id"] for answer in made}) == 1
    assert {answer.json()["code"] for answer in waiting} <= {"idempotency_in_progress"}
    assert all(answer.headers["retry-after"] == "1" for answer in waiting)
    assert await products_of(db, alice) == 1


@pytest.mark.commits
async def test_claim_when_transactions_were_given_up_is_taken_again(database: Database):
    gates = {name: asyncio.Event() for name in ("first", "second")}
    is_waiting = {name: asyncio.Event() for name in gates}
    service = FastAPI()
    service.state.database = database
    idempotency.install(service)
    errors.install(service)

    @service.post("/{path:path}")
    async def wait(session: Unscoped, request: Request) -> str:
        await session.rollback()
        name = request.headers["x-name"]
        is_waiting[name].set()
        await gates[name].wait()
        return name

    async def post(name: str) -> Response:
        return await http.post("/", headers={"X-Name": name, "Idempotency-Key": "one"})

    async with AsyncClient(transport=ASGITransport(app=service), base_url="http://api.luneo.test") as http:
        tasks = []
        for name, waits in is_waiting.items():
            # The second comes when the first has given its transaction up; before, it would be told to wait.
            tasks.append(asyncio.create_task(post(name)))
            async with asyncio.timeout(60):
                await waits.wait()
        pool = database.engine.pool
        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0
        for gate, task in zip(gates.values(), tasks, strict=True):
            gate.set()
            assert (await task).json() == "first"
    assert tasks[1].result().headers["idempotency-replayed"] == "true"


def test_every_write_that_takes_a_key_has_a_session_that_keeps_it(application: FastAPI):
    writes = [
        route
        for route in api_routes(application)
        if {"POST", "PUT", "PATCH"} & set(route.methods or ()) and marker_of(route).access != "signed"
    ]
    assert len(writes) > 50
    without = [
        f"{route.methods} {route.path_format}"
        for route in writes
        if route.include_in_schema and not {owner_session, system_session} & set(dependencies_of(route))
    ]
    assert without == []


def test_mask_when_secrets_stand_anywhere_in_the_answer():
    token, jwt = "luneo_rt_" + "A" * 40, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    body = f'{{"access_token":"{jwt}","list":[{{"key":"craft","secret":"x"}}],"session":{{"any":"{token}"}}}}'
    expected = b'{"access_token":null,"list":[{"key":"craft","secret":null}],"session":{"any":null}}'
    assert mask(body.encode()) == expected
    assert mask(b"plain text") == b"plain text"
