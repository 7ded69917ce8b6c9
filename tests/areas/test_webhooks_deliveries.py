"""Deliveries as people see them: lists, one with its attempts, history, retries and test deliveries."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import delete, select
from standardwebhooks import Webhook

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.integrations import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.models.realtime import EventLog
from tests.factories.webhooks import happen, make_attempt, make_delivery, make_webhook
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.receivers import hang, reply
from tests.support.webhooks import Hook, hooking, let_them_hang

WEBHOOKS = "/api/integrations/webhooks"


@pytest.fixture
async def hook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hook]:
    async with hooking(monkeypatch) as hook:
        yield hook


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def one(client: AsyncClient, who: Persona, address: str) -> dict[str, Any]:
    answer = await client.get(address, headers=who.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_deliveries_when_they_are_listed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    other, _ = await make_webhook(db, owner=alice)
    now = clock.now()
    made = [
        await make_delivery(
            db,
            owner=alice,
            endpoint_id=row.id,
            status=status,
            event_type=kind,
            last_error_code=error,
            created_at=now - timedelta(hours=hours),
        )
        for hours, (status, kind, error) in enumerate(
            [("succeeded", "order.paid", None), ("exhausted", "order.paid", "timeout"), ("held", "a.b", None)]
        )
    ]
    await make_delivery(db, owner=alice, endpoint_id=other.id)
    ids = [str(delivery.id) for delivery in made]
    address = f"{WEBHOOKS}/{row.id}/deliveries"
    for query, wanted in (
        ({}, ids),
        ({"status": "held"}, ids[2:]),
        ({"event_type": "order.paid"}, ids[:2]),
        ({"error_code": "timeout"}, ids[1:2]),
        ({"from": (now - timedelta(minutes=90)).isoformat()}, ids[:2]),
        ({"to": (now - timedelta(minutes=90)).isoformat()}, ids[2:]),
    ):
        found = await client.get(address, params=query, headers=alice.headers)
        assert [item["id"] for item in found.json()["items"]] == wanted, query
    first = await client.get(address, params={"limit": 2}, headers=alice.headers)
    cursor = first.json()["next_cursor"]
    rest = await client.get(address, params={"limit": 2, "cursor": cursor}, headers=alice.headers)
    assert [item["id"] for item in rest.json()["items"]] == ids[2:]
    assert first.json()["items"][0] | {"updated_at": None} == {
        "id": ids[0],
        "webhook_id": str(row.id),
        "event_id": str(made[0].event_id),
        "event_type": "order.paid",
        "status": "succeeded",
        "attempt_count": 0,
        "last_response_status": None,
        "last_error_code": None,
        "next_attempt_at": None,
        "completed_at": None,
        "created_at": now.isoformat().replace("+00:00", "Z"),
        "updated_at": None,
    }


async def test_delivery_when_it_was_tried_twice(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """The event as it was sent, and every answer."""
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    hook.behaves = reply(500, b"x" * 5000, Set_Cookie="a=b", X_Reason="full")
    await happen(database, alice)
    await handle_events(database)
    (delivery,) = (await db.scalars(select(WebhookDelivery))).all()
    address = f"{WEBHOOKS}/{row.id}/deliveries/{delivery.id}"
    hook.behaves = reply()
    retried = await client.post(f"{address}/retry", headers=alice.headers)
    assert (retried.status_code, retried.headers["location"]) == (202, address)
    assert retried.json()["status"] == "pending"
    await handle_events(database)
    found = await one(client, alice, address)
    assert (found["status"], found["attempt_count"]) == ("succeeded", 2)
    assert found["event"] == json.loads(hook.requests[1][1])
    first, second = found["attempts"]
    assert (first["number"], first["trigger"], first["error_code"]) == (1, "auto", "http_5xx")
    assert len(first["response_body"]) == 4096
    assert first["response_headers"]["x-reason"] == "full"
    assert "set-cookie" not in first["response_headers"]
    assert (second["number"], second["trigger"], second["response_status"]) == (2, "manual", 200)
    assert len(set(hook.ids)) == 1
    history = await one(client, alice, f"{WEBHOOKS}/{row.id}/history")
    assert history["items"] == [
        {
            "id": str(delivery.id),
            "webhook_id": str(row.id),
            "event_type": "product.updated",
            "payload": found["event"],
            "response_status": 200,
            "response_body": "ok",
            "success": True,
            "retry_count": 1,
            "created_at": found["created_at"],
        }
    ]


async def test_delivery_when_its_event_was_pruned(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    old = clock.now() - timedelta(days=31)
    made = await make_delivery(db, owner=alice, endpoint_id=row.id, status="exhausted", created_at=old)
    await db.execute(delete(EventLog))
    await db.commit()
    address = f"{WEBHOOKS}/{row.id}/deliveries/{made.id}"
    assert (await one(client, alice, address))["event"] is None
    assert (await one(client, alice, f"{WEBHOOKS}/{row.id}/history"))["items"][0]["payload"] is None
    assert code(await client.post(f"{address}/retry", headers=alice.headers)) == (410, "event_expired")


async def test_delivery_when_it_is_under_way(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row, _ = await make_webhook(db, owner=alice)
    made = await make_delivery(db, owner=alice, endpoint_id=row.id, status="sending")
    answer = await client.post(f"{WEBHOOKS}/{row.id}/deliveries/{made.id}/retry", headers=alice.headers)
    assert code(answer) == (409, "delivery_in_progress")


async def test_delivery_when_it_was_given_up(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """It has ten attempts again; under another endpoint's address it is nothing."""
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    other, _ = await make_webhook(db, owner=alice)
    made = await make_delivery(
        db, owner=alice, endpoint_id=row.id, status="exhausted", attempts=10, cycle_attempts=10
    )
    wrong = f"{WEBHOOKS}/{other.id}/deliveries/{made.id}"
    assert (await client.get(wrong, headers=alice.headers)).status_code == 404
    assert (await client.post(f"{wrong}/retry", headers=alice.headers)).status_code == 404
    hook.behaves = reply(400)
    await client.post(f"{WEBHOOKS}/{row.id}/deliveries/{made.id}/retry", headers=alice.headers)
    await handle_events(database)
    found = await one(client, alice, f"{WEBHOOKS}/{row.id}/deliveries/{made.id}")
    assert (found["status"], found["attempt_count"]) == ("retrying", 11)
    assert found["next_attempt_at"] is not None


async def test_attempts_when_there_are_many(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row, _ = await make_webhook(db, owner=alice)
    made = await make_delivery(db, owner=alice, endpoint_id=row.id)
    for number in range(1, 103):
        await make_attempt(db, owner=alice, delivery=made, number=number)
    found = await one(client, alice, f"{WEBHOOKS}/{row.id}/deliveries/{made.id}")
    assert [attempt["number"] for attempt in found["attempts"]] == list(range(3, 103))


async def test_sample_when_it_is_taken(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Sent while the caller waits, signed, with a body as the catalogue shows it; it changes no health."""
    row, secret = await make_webhook(db, owner=alice, url=hook.url, status="paused")
    address = f"{WEBHOOKS}/{row.id}/test"
    for kind, body in (("webhook.ping", None), ("order.paid", {"event_type": "order.paid"})):
        hook.forget()
        answer = await client.post(address, json=body, headers=alice.headers)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["ok"], told["response_status"]) == (True, 200)
        assert (told["error_code"], told["hint"]) == (None, None)
        ((headers, sent),) = hook.requests
        envelope = Webhook(secret).verify(sent, headers)
        assert (envelope["id"], envelope["type"]) == (told["message_id"], kind)
        assert envelope["organization_id"] == str(alice.organization_id)
    assert {"amount_paid", "items"} <= envelope["data"].keys()
    made = (await db.scalars(select(WebhookAttempt))).all()
    assert [(attempt.trigger, attempt.delivery_id) for attempt in made] == [("test", None)] * 2
    found = await one(client, alice, f"{WEBHOOKS}/{row.id}")
    assert (found["status"], found["last_triggered_at"]) == ("paused", None)


async def test_sample_when_it_fails(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says what to do."""
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    address = f"{WEBHOOKS}/{row.id}/test"
    hook.behaves = reply(301, b"", Location="https://www.example.com/luneo")
    told = (await client.post(address, headers=alice.headers)).json()
    assert (told["ok"], told["response_status"], told["error_code"]) == (False, 301, "redirect")
    assert "https://www.example.com/luneo" in told["hint"]
    monkeypatch.setattr(get_settings(), "outbound_allow", [])
    told = (await client.post(address, headers=alice.headers)).json()
    assert (told["ok"], told["response_status"], told["error_code"]) == (False, None, "blocked_address")
    assert told["hint"]
    found = (await db.scalars(select(WebhookEndpoint))).one()
    assert found.failure_count == 0


async def test_sample_when_webhooks_carry_no_such(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    row, _ = await make_webhook(db, owner=alice)
    for kind in ("auth.signed_in", "nothing.at_all", "order.*"):
        answer = await client.post(
            f"{WEBHOOKS}/{row.id}/test", json={"event_type": kind}, headers=alice.headers
        )
        assert code(answer) == (422, "unknown_event_type")


async def test_samples_when_there_are_too_many(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    monkeypatch.setattr(get_settings(), "limit_webhook_test", "2/1m")
    answers = [await client.post(f"{WEBHOOKS}/{row.id}/test", headers=alice.headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert len(hook.requests) == 2


async def test_sample_when_the_request_is_repeated(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    headers = {**alice.headers, "Idempotency-Key": "once"}
    first, again = [await client.post(f"{WEBHOOKS}/{row.id}/test", headers=headers) for _ in range(2)]
    assert first.json() == again.json()
    assert len(hook.requests) == 1


async def test_sample_when_the_request_failed_before(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """A request that failed gives its key back."""
    headers = {**alice.headers, "Idempotency-Key": "once"}
    address = f"{WEBHOOKS}/{uuid7()}/test"
    answers = [await client.post(address, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.commits
async def test_sample_when_the_request_is_repeated_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample goes, although no transaction is open while it does."""
    let_them_hang(monkeypatch)
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    address = f"{WEBHOOKS}/{row.id}/test"
    headers = {**alice.headers, "Idempotency-Key": "once"}
    may_answer = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await reply()(reader, writer)

    hook.behaves = wait
    first = asyncio.create_task(client.post(address, headers=headers))
    async with asyncio.timeout(30):
        while not hook.requests:  # noqa: ASYNC110 - the receiver tells nobody.
            await asyncio.sleep(0.01)
    others = [await client.post(address, headers=headers) for _ in range(3)]
    another = await client.post(address, json={"event_type": "order.paid"}, headers=headers)
    may_answer.set()
    assert (await first).json()["ok"] is True
    assert {code(answer) for answer in others} == {(409, "idempotency_in_progress")}
    assert code(another) == (422, "idempotency_key_reused")
    again = await client.post(address, headers=headers)
    assert again.json() == (await first).json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(hook.requests) == 1


@pytest.mark.commits
async def test_sample_when_the_endpoint_hangs(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """No transaction is open meanwhile."""
    row, _ = await make_webhook(db, owner=alice, url=hook.url)
    hook.behaves = hang
    asking = asyncio.create_task(client.post(f"{WEBHOOKS}/{row.id}/test", headers=alice.headers))
    async with asyncio.timeout(60):
        while not hook.requests:  # noqa: ASYNC110 - the receiver tells nobody.
            await asyncio.sleep(0.01)
    assert database.engine.pool.checkedout() == 1, "the connection of this test alone"  # type: ignore[attr-defined]  # a queue
    asking.cancel()
