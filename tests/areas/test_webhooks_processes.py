"""Webhooks with real commits: racing and killed senders, slow endpoints, large histories."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import event as listening
from sqlalchemy import select

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.worker import Worker
from app.models.integrations import WebhookAttempt, WebhookDelivery
from app.services.integrations.webhooks.pinging import drain
from app.services.integrations.webhooks.queueing import queue_deliveries
from app.services.integrations.webhooks.sending import LEASE, SENDER, deliver
from app.services.integrations.webhooks.upkeep import rescue
from tests.factories.webhooks import happen, make_delivery, make_webhook
from tests.support.personas import Persona
from tests.support.receivers import hang, reply
from tests.support.webhook_process import start_sender
from tests.support.webhooks import Hook, handle_until_now, hooking, let_them_hang

pytestmark = pytest.mark.commits

WEBHOOKS = "/api/integrations/webhooks"
MANY = 100_000

FILL = """
    INSERT INTO webhook_deliveries
      (organization_id, id, endpoint_id, event_id, event_type, status, created_at)
    SELECT $1, gen_random_uuid(), $2, gen_random_uuid(), 'order.paid',
           CASE WHEN n % 1000 = 0 THEN 'held' ELSE 'succeeded' END, now() - make_interval(secs => n)
    FROM generate_series(1, $3::int) AS n
    """


@pytest.fixture
async def hook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hook]:
    async with hooking(monkeypatch) as hook:
        yield hook


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():  # noqa: ASYNC110 - what it waits for happens elsewhere.
            await asyncio.sleep(0.02)


async def test_delivery_when_its_sender_is_killed(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Killed when the endpoint has it and nobody has noted it: it comes again, under the same id."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    made = await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=clock.now())
    ids = (alice.organization_id, endpoint.id, made.id)
    hook.behaves = hang
    assert hook.receiver is not None
    url = database.engine.url.render_as_string(hide_password=False)
    process = await asyncio.to_thread(start_sender, url, hook.receiver.port, ids)

    async def has_come() -> bool:
        return bool(hook.requests)

    await until(has_come)
    process.kill()
    await asyncio.to_thread(process.join)
    assert process.exitcode == -signal.SIGKILL
    hook.behaves = reply()
    assert await deliver(database, *ids) is None, "the lease is not over"
    with clock.travel(LEASE + timedelta(seconds=31)):
        assert await rescue(database) == 1
        await handle_until_now(database)
    assert hook.ids == [str(made.event_id)] * 2
    row = (await db.scalars(select(WebhookDelivery).execution_options(populate_existing=True))).one()
    assert (row.status, row.attempts) == ("succeeded", 2)
    found = (await db.scalars(select(WebhookAttempt).order_by(WebhookAttempt.number))).all()
    assert [(one.number, one.response_status) for one in found] == [(1, None), (2, 200)]


async def test_delivery_when_two_senders_race(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    made = await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=clock.now())
    ids = (alice.organization_id, endpoint.id, made.id)
    outcomes = await asyncio.gather(*(deliver(database, *ids) for _ in range(4)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(hook.requests) == 1
    assert len((await db.scalars(select(WebhookAttempt))).all()) == 1


async def test_deliveries_when_their_results_race(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Ten at once, of which five go and five wait; all arrive, none twice, and nobody deadlocks."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    now = clock.now()
    made = [
        await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=now) for _ in range(10)
    ]
    await asyncio.gather(
        *(deliver(database, alice.organization_id, endpoint.id, delivery.id) for delivery in made)
    )
    await handle_until_now(database)
    assert sorted(hook.ids) == sorted(str(delivery.event_id) for delivery in made)


async def test_event_when_its_endpoint_opens_in_that_moment(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Whoever holds a delivery and whoever lets them go wait for each other, so that none stays behind."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"], circuit="open")
    (event_id,) = await happen(database, alice)
    facts: dict[str, Any] = {
        "organization_id": alice.organization_id,
        "event_id": event_id,
        "event_type": "product.updated",
        "body": "{}",
        "occurred_at": clock.now(),
    }
    async with database.transaction(principal=SENDER) as session:
        assert await queue_deliveries(session, **facts) == 1
        row = await db.get_one(type(endpoint), (alice.organization_id, endpoint.id))
        row.circuit = "closed"
        opening = asyncio.create_task(db.commit())
        await asyncio.sleep(0.05)
        assert not opening.done()
    await opening
    assert await drain(database, alice.organization_id, endpoint.id, 0) == 1


async def test_endpoints_when_one_of_them_is_slow(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona, hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Real workers deliver to the others while all that goes to the slow one hangs."""
    hook.behaves = hang
    let_them_hang(monkeypatch)
    await make_webhook(db, owner=charlie, url=hook.url, events=["product.*"])
    async with hooking(monkeypatch) as healthy:
        await make_webhook(db, owner=alice, url=healthy.url, events=["product.*"])
        worker = Worker(database)
        await worker.start()
        try:
            await happen(database, charlie, count=8)

            async def hangs() -> bool:
                return hook.receiver is not None and hook.receiver.open_count == 5

            await until(hangs)
            happened = await happen(database, alice, count=5)

            async def has_come() -> bool:
                return len(healthy.ids) == len(happened)

            await until(has_come)
            assert hook.receiver is not None
            assert hook.receiver.open_count == 5, "five at once, and no more"
            assert sorted(healthy.ids) == sorted(str(event_id) for event_id in happened)
            assert hook.receiver.accepted_count == 5
        finally:
            await hook.receiver.end() if hook.receiver else None
            await worker.stop(1)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


@contextmanager
def heard(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Statements inside the block that read deliveries, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: object) -> None:
        if "FROM webhook_deliveries" in statement:
            seen.append((statement, parameters))

    engine = database.engine.sync_engine
    listening.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        listening.remove(engine, "before_cursor_execute", note)


@pytest.mark.slow
async def test_pages_when_an_endpoint_has_many_deliveries(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """The first page and the next, of everything and of one status, read from an index what they show."""
    endpoint, _ = await make_webhook(db, owner=alice)
    await db.fetch(FILL, alice.organization_id, endpoint.id, MANY)
    await db.commit()
    await db.fetch("ANALYZE webhook_deliveries")
    await db.commit()
    address = f"{WEBHOOKS}/{endpoint.id}"
    for path, query in (
        ("deliveries", {}),
        ("deliveries", {"status": "held"}),
        ("deliveries", {"event_type": "order.paid"}),
        ("history", {}),
    ):
        cursor: dict[str, str] = {}
        for _ in range(2):
            with heard(database) as seen:
                answer = await client.get(
                    f"{address}/{path}", params={**query, **cursor}, headers=alice.headers
                )
            assert len(answer.json()["items"]) == 20
            cursor = {"cursor": answer.json()["next_cursor"]}
            statement, parameters = seen[0]
            ((plan,),) = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *parameters)
            found = list(nodes(plan[0]["Plan"]))
            assert max(node["Actual Rows"] for node in found) <= 22, (path, query, found)
            assert not any(node.get("Rows Removed by Filter") for node in found), (path, query, found)
