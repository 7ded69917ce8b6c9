"""Events of Stripe after the intake: fetched, applied once, waited for, buried, brought back."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import select, text, update

from app.clients.stripe import StripeUnavailable
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.models.stripe_webhooks import StripeEvent, StripeObject
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.effects import CustomerConflict, EventDead, StripeEventRow, on_stripe
from app.services.stripe_webhooks.fetching import metadata_id, objects_named
from app.services.stripe_webhooks.processing import process_event, sync_object
from app.services.stripe_webhooks.sweeping import prune, sweep
from tests.factories.orders import make_order
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_events import event_of, own_registrations, send
from tests.support.stripe_sandbox import StripeSandbox

TYPE = "customer.updated"


class Applied:
    """An effect that notes what it was given, and may be told to fail."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, Any], StripeEventRow]] = []
        self.error: Exception | None = None

    async def effect(self, session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
        await session.execute(
            text("INSERT INTO stripe_objects VALUES (:id, 'effect', :owner)"),
            {"id": f"effect_{event.id}", "owner": event.owner},
        )
        if self.error is not None:
            raise self.error
        self.seen.append((fetched, event))


@pytest.fixture
def applied() -> Iterator[Applied]:
    with own_registrations():
        made = Applied()
        on_stripe(TYPE, "customer.deleted")(made.effect)
        yield made


async def customer(stripe: StripeSandbox, owner: Persona | None = None, **sent: Any) -> dict[str, Any]:
    metadata = {"organization_id": str(owner.organization_id)} if owner else {}
    return await stripe.call("customers.create", metadata=metadata, **sent)


async def row_of(db: SystemSession, event: dict[str, Any]) -> StripeEvent:
    return await db.get_one(StripeEvent, event["id"], populate_existing=True)


async def effects(db: SystemSession) -> int:
    found = await db.execute(select(StripeObject).where(StripeObject.object_type == "effect"))
    return len(found.all())


async def receive(
    client: AsyncClient, stripe: StripeSandbox, subject: dict[str, Any], kind: str = TYPE
) -> Any:
    event = event_of(kind, subject)
    assert (await send(client, stripe, event)).status_code == 200
    return event


async def test_event_when_its_payload_is_old(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    found = await customer(stripe_sandbox, alice, email="new@luneo.test")
    event = await receive(client, stripe_sandbox, {**found, "email": "old@luneo.test", "metadata": {}})
    await handle_events(database)
    ((fetched, seen),) = applied.seen
    assert fetched["email"] == "new@luneo.test"
    assert seen.hint["email"] == "old@luneo.test"
    assert seen.owner == alice.organization_id
    row = await row_of(db, event)
    assert (row.status, row.attempts, row.organization_id) == ("done", 1, alice.organization_id)
    assert row.result == {"applied": ["applied"]}
    bound = await db.get_one(StripeObject, found["id"])
    assert (bound.organization_id, bound.object_type) == (alice.organization_id, "customer")
    assert not seen.is_superseded(None)
    assert not seen.is_superseded(seen.fetched_at - timedelta(microseconds=1))
    assert seen.is_superseded(seen.fetched_at)


@pytest.mark.commits
async def test_event_when_it_comes_and_is_worked_on_twenty_times_at_once(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    event = event_of(TYPE, await customer(stripe_sandbox, alice))
    paths = ("/api/stripe/webhook", "/api/webhooks/stripe")
    await asyncio.gather(
        *(send(client, stripe_sandbox, event, path=paths[number % 2]) for number in range(20))
    )
    await asyncio.gather(*(process_event(database, event["id"]) for _ in range(20)))
    assert await effects(db) == 1
    row = await row_of(db, event)
    assert (row.status, row.deliveries) == ("done", 20)
    assert applied.seen


async def test_event_when_its_effect_fails(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
    caplog: pytest.LogCaptureFixture,
) -> None:
    applied.error = RuntimeError("a defect with 4242424242424242")
    caplog.set_level(logging.DEBUG)
    event = await receive(client, stripe_sandbox, await customer(stripe_sandbox, alice))
    await handle_events(database)
    row = await row_of(db, event)
    assert (row.status, row.attempts, row.last_error) == ("pending", 1, "RuntimeError")
    assert "4242424242424242" not in caplog.text
    assert row.next_attempt_at > row.received_at
    assert await effects(db) == 0
    applied.error = None
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == "done"
    assert await effects(db) == 1


async def test_event_when_it_has_failed_too_often(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(get_settings(), "stripe_event_max_attempts", 3)
    applied.error = StripeUnavailable("no answer")
    event = await receive(client, stripe_sandbox, await customer(stripe_sandbox, alice))
    for status in ("pending", "pending", "dead", "dead"):
        await process_event(database, event["id"])
        assert (await row_of(db, event)).status == status
    assert (await row_of(db, event)).attempts == 3
    assert await alerts(db) == ["stripe.event_dead"]


async def alerts(db: SystemSession) -> list[str]:
    found = await db.scalars(select(EventOutbox.type).where(EventOutbox.type.like("stripe.%")))
    return sorted(found)


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (EventDead("unknown_price", "price_1"), ["stripe.event_dead"]),
        (CustomerConflict("cus_1"), ["stripe.customer_conflict", "stripe.event_dead"]),
    ],
)
async def test_event_when_its_effect_gives_it_up(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
    error: EventDead,
    heard: list[str],
) -> None:
    applied.error = error
    event = await receive(client, stripe_sandbox, await customer(stripe_sandbox, alice))
    await process_event(database, event["id"])
    row = await row_of(db, event)
    assert row.status == "dead"
    assert row.last_error is not None
    assert error.code in row.last_error
    assert await effects(db) == 0
    assert await alerts(db) == heard


async def test_event_when_its_objects_belong_to_two(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    charlie: Persona,
    applied: Applied,
) -> None:
    found = await customer(stripe_sandbox, alice)
    await bind(db, found["id"], "customer", charlie.organization_id)
    await bind(db, "sub_sbx1", "subscription", alice.organization_id)
    await db.commit()
    event = await receive(client, stripe_sandbox, {**found, "subscription": "sub_sbx1"})
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == "dead"
    assert applied.seen == []
    assert await alerts(db) == ["stripe.customer_conflict", "stripe.event_dead"]


async def test_event_when_metadata_claims_what_another_organisation_owns(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    charlie: Persona,
    applied: Applied,
) -> None:
    found = await customer(stripe_sandbox, alice)
    await bind(db, found["id"], "customer", charlie.organization_id)
    await db.commit()
    event = await receive(client, stripe_sandbox, found)
    await process_event(database, event["id"])
    ((_, seen),) = applied.seen
    assert seen.owner == charlie.organization_id
    assert (await row_of(db, event)).organization_id == charlie.organization_id


async def make_old(db: SystemSession, event: dict[str, Any]) -> None:
    row = await row_of(db, event)
    row.received_at -= timedelta(minutes=11)
    await db.commit()


@pytest.mark.parametrize("whose", ["ours", "our_order", "somebody", "nobody"])
async def test_event_when_nobody_is_found(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
    whose: str,
) -> None:
    order = await make_order(db, owner=alice)
    await db.commit()
    metadata = {
        "ours": {"organization_id": str(alice.organization_id)},
        "our_order": {"order_id": str(order.id)},
        "somebody": {"organization_id": str(uuid4()), "order_id": str(uuid4())},
        "nobody": {"organization_id": "x", "order_id": 1},
    }[whose]
    found = await customer(stripe_sandbox)
    event = await receive(client, stripe_sandbox, {**found, "metadata": metadata})
    await process_event(database, event["id"])
    row = await row_of(db, event)
    assert (row.status, row.attempts) == ("pending", 1)
    await make_old(db, event)
    await process_event(database, event["id"])
    row = await row_of(db, event)
    if whose.startswith("our"):
        assert row.status == "dead"
        assert "unresolved" in str(row.last_error)
    else:
        assert (row.status, row.result) == ("skipped", {"skipped": "not_ours"})
    assert applied.seen == []


async def test_event_when_our_commit_is_late(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    found = await customer(stripe_sandbox)
    event = await receive(client, stripe_sandbox, found)
    await process_event(database, event["id"])
    await bind(db, found["id"], "customer", alice.organization_id)
    await db.commit()
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == "done"
    assert len(applied.seen) == 1


@pytest.mark.parametrize(("kind", "status"), [("customer.deleted", "done"), (TYPE, "pending")])
async def test_event_when_stripe_does_not_know_the_object(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
    kind: str,
    status: str,
) -> None:
    await bind(db, "cus_sbxgone", "customer", alice.organization_id)
    await db.commit()
    event = await receive(client, stripe_sandbox, {"id": "cus_sbxgone", "object": "customer"}, kind)
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == status
    deleted = {"id": "cus_sbxgone", "object": "customer", "deleted": True}
    assert [fetched for fetched, _ in applied.seen] == ([deleted] if status == "done" else [])


async def test_event_when_nothing_is_registered_for_it(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    applied: Applied,
) -> None:
    event = await receive(client, stripe_sandbox, {"id": "in_sbx1", "object": "invoice"}, "invoice.paid")
    await process_event(database, event["id"])
    row = await row_of(db, event)
    assert (row.status, row.result) == ("skipped", {"skipped": "no_effect"})
    assert applied.seen == []


async def test_event_when_it_is_about_the_platform(
    client: AsyncClient, database: Database, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    seen: list[dict[str, Any]] = []

    async def more(_: Any, fetched: dict[str, Any]) -> dict[str, Any]:
        return {"more": fetched["name"]}

    async def effect(_: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str:
        assert event.organization_id is None
        seen.append(fetched)
        return "checked"

    with own_registrations():
        on_stripe("product.updated", also=more, platform=True)(effect)
        product = await stripe_sandbox.call("products.create", name="Pro")
        event = await receive(client, stripe_sandbox, product, "product.updated")
        await process_event(database, event["id"])
    assert [found["more"] for found in seen] == ["Pro"]
    row = await row_of(db, event)
    assert (row.status, row.result) == ("done", {"applied": ["checked"]})


async def test_object_when_it_is_synced_without_an_event(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona, applied: Applied
) -> None:
    found = await customer(stripe_sandbox, alice)
    await sync_object(database, TYPE, {"id": found["id"], "object": "customer"})
    ((fetched, seen),) = applied.seen
    assert (fetched["id"], seen.owner) == (found["id"], alice.organization_id)
    assert await effects(db) == 1


async def test_sweep_when_the_job_of_an_event_is_lost(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    event = await receive(client, stripe_sandbox, await customer(stripe_sandbox, alice))
    await db.execute(text("DELETE FROM procrastinate_jobs"))
    row = await row_of(db, event)
    row.next_attempt_at -= timedelta(minutes=3)
    await db.commit()
    assert await sweep(database) == 1
    assert await sweep(database) == 0
    await handle_events(database)
    assert (await row_of(db, event)).status == "done"
    assert len(applied.seen) == 1


async def test_prune_when_events_are_old(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    events = [await receive(client, stripe_sandbox, await customer(stripe_sandbox, alice)) for _ in range(4)]
    for event in events[:3]:
        await process_event(database, event["id"])
    for event, days in zip(events, (401, 91, 89, 401), strict=True):
        row = await row_of(db, event)
        row.received_at -= timedelta(days=days)
    await db.commit()
    await prune(database)
    left = {
        row.id: row.payload
        for row in await db.scalars(select(StripeEvent).execution_options(populate_existing=True))
    }
    assert left == {events[1]["id"]: {}, events[2]["id"]: events[2], events[3]["id"]: events[3]}
    assert len(applied.seen) == 3


async def test_event_when_its_payload_was_removed_before_it_is_retried(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    applied: Applied,
) -> None:
    found = await customer(stripe_sandbox, alice)
    event = await receive(client, stripe_sandbox, found)
    (await row_of(db, event)).payload = {}
    await db.commit()
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == "done"
    assert [fetched["id"] for fetched, _ in applied.seen] == [found["id"]]


def test_objects_when_an_invoice_names_its_subscription() -> None:
    owner = uuid4()
    details = {"subscription": {"id": "sub_1"}, "metadata": {"organization_id": str(owner)}}
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "payment_intent": None,
        "charge": 5,
        "parent": {"subscription_details": details},
    }
    assert objects_named(invoice) == {"in_1": "invoice", "cus_1": "customer", "sub_1": "subscription"}
    assert metadata_id(invoice, "organization_id") == owner
    assert metadata_id({"metadata": {"organization_id": "no id"}}, "organization_id") is None


@pytest.mark.parametrize("parent", [5, ["sub_1"], {"subscription_details": "sub_1"}])
async def test_event_when_what_it_names_has_another_shape(
    client: AsyncClient, db: SystemSession, database: Database, stripe_sandbox: StripeSandbox, parent: Any
) -> None:
    """It names nobody of ours, and is passed over in the end like any other that does not."""
    subject = {"id": "ch_1", "object": "charge", "parent": parent, "metadata": 7}
    event = await receive(client, stripe_sandbox, subject, "charge.updated")
    await db.execute(
        update(StripeEvent)
        .where(StripeEvent.id == event["id"])
        .values(received_at=StripeEvent.received_at - timedelta(minutes=11))
    )
    await db.commit()
    await process_event(database, event["id"])
    assert (await row_of(db, event)).status == "skipped"
