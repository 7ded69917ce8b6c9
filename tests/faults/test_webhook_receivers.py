"""Endpoints of webhooks that drip, flood, break off, redirect inside or hang: nobody else waits for them."""

import asyncio
import gc
from collections.abc import AsyncIterator
from uuid import UUID

import psutil
import pytest
from sqlalchemy import select

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.worker import Worker
from app.models.integrations import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.services.integrations.webhooks.signing import new_secret
from tests.factories.webhooks import happen, make_webhook
from tests.support import receivers
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.receivers import Behaviour, Receiver, receiving, reply, reset_after
from tests.support.webhooks import allow_receivers, let_them_hang

pytestmark = [pytest.mark.fault]

HANGING = 200
MEMORY = HANGING * 250_000
"""Bytes that so many requests may hold at once, the other side of each included."""


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    """A worker with the settings that a service has."""
    worker = Worker(database, get_settings())
    yield worker
    await worker.stop()


async def until(receiver: Receiver, open_count: int) -> None:
    """Wait until so many requests hang."""
    async with asyncio.timeout(120):
        while receiver.open_count < open_count:  # noqa: ASYNC110 - connections come without telling.
            await asyncio.sleep(0.01)


async def make_webhooks(db: SystemSession, owner: Persona, url: str) -> None:
    """HANGING endpoints at one address, in one transaction."""
    ids = [uuid7() for _ in range(HANGING)]
    for endpoint_id in ids:
        facts = {"organization_id": owner.organization_id, "created_by": owner.user_id, "url": url}
        db.add(WebhookEndpoint(id=endpoint_id, url_host="127.0.0.1", events=["product.*"], **facts))
    await db.flush()
    db.add_all(new_secret(owner.organization_id, endpoint_id)[0] for endpoint_id in ids)
    await db.commit()


BEHAVIOURS: dict[str, Behaviour] = {
    "/good": reply(204, b""),
    "/endless": receivers.endless_body,
    "/bomb": receivers.bomb,
    "/head": receivers.endless_head,
    "/reset": reset_after(receivers.HEAD),
    "/inside": receivers.to_metadata,
}


async def test_deliveries_when_receivers_misbehave(
    database: Database, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comes to what it is called, keeps a bounded answer, and is asked once."""
    async with receiving(BEHAVIOURS) as receiver:
        allow_receivers(monkeypatch, receiver)
        paths: dict[UUID, str] = {}
        for path in BEHAVIOURS:
            url = receiver.url(path, host="127.0.0.1")
            endpoint, _ = await make_webhook(db, owner=alice, url=url, events=["product.*"])
            paths[endpoint.id] = path
        await happen(database, alice)
        await handle_events(database)
        await receiver.all_closed()
    asked = [head.split(" ")[1] for head, _ in receiver.requests]
    assert sorted(asked) == sorted(BEHAVIOURS), "nothing was followed, and nothing asked twice"
    statement = select(WebhookAttempt, WebhookDelivery.status).join(
        WebhookDelivery, WebhookDelivery.id == WebhookAttempt.delivery_id
    )
    found = {paths[row.endpoint_id]: (row, status) for row, status in (await db.execute(statement)).all()}
    assert {path: (row.error_code, status) for path, (row, status) in found.items()} == {
        "/good": (None, "succeeded"),
        "/endless": (None, "succeeded"),
        "/bomb": (None, "succeeded"),
        "/head": ("too_large", "retrying"),
        "/reset": ("connection_reset", "retrying"),
        "/inside": ("redirect", "retrying"),
    }
    assert found["/inside"][0].redirect_target == "http://169.254.169.254/latest/meta-data/"
    assert found["/endless"][0].response_body == "x" * 4096
    for row, _ in found.values():
        assert len(row.response_body or "") <= 4096
        assert str(row.remote_ip) == "127.0.0.1"


@pytest.mark.commits
async def test_healthy_endpoint_when_two_hundred_hang(
    database: Database,
    db: SystemSession,
    alice: Persona,
    charlie: Persona,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither its own delivery nor the handling of its event waits for a place that one of them holds."""
    async with receiving(receivers.hang) as bad, receiving(reply()) as good:
        allow_receivers(monkeypatch, bad, good)
        let_them_hang(monkeypatch)
        await make_webhooks(db, alice, bad.url(host="127.0.0.1"))
        await make_webhook(db, owner=charlie, url=good.url(host="127.0.0.1"))
        await happen(database, alice)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await worker.start()
        await until(bad, HANGING)
        held = psutil.Process().memory_info().rss - before
        await happen(database, charlie)
        async with asyncio.timeout(60):
            while not good.requests:  # noqa: ASYNC110 - requests come without telling.
                await asyncio.sleep(0.005)
        assert bad.open_count == HANGING, "they hang all the while"
        assert held < MEMORY, f"{held / HANGING / 1024:.0f} KiB each"
