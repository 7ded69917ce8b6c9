"""The comparison of our rows with Stripe: what was missed comes in, what differs is named once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.stripe import StripeClient, use_client
from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.models.orders import Order
from app.models.stripe_webhooks import StripeDifference, StripeEvent
from app.repositories.stripe_webhooks.mirrors import Mirror
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.comparing import (
    ended_subscription,
    hint_of,
    invoice_differences,
    payment_differences,
    refund_differences,
    subscription_differences,
)
from app.services.stripe_webhooks.effects import StripeEventRow, on_stripe
from app.services.stripe_webhooks.reconciling import backfill, reconcile, repair_difference
from tests.factories.orders import make_order, make_payment
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_events import own_registrations
from tests.support.stripe_sandbox import StripeSandbox

LATER = timedelta(hours=1)


@pytest.fixture
def alone() -> Iterator[None]:
    """No effects but those of the test."""
    with own_registrations():
        yield


async def differences(db: SystemSession) -> list[StripeDifference]:
    found = await db.scalars(
        select(StripeDifference)
        .order_by(StripeDifference.first_seen_at)
        .execution_options(populate_existing=True)
    )
    return list(found)


@pytest.mark.usefixtures("alone")
async def test_backfill_when_deliveries_were_dropped(
    client: AsyncClient, database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona
) -> None:
    seen: list[str] = []

    async def effect(_: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
        assert event.owner == alice.organization_id
        seen.append(fetched["id"])

    on_stripe("customer.updated")(effect)
    metadata = {"organization_id": str(alice.organization_id)}
    customer = await stripe_sandbox.call("customers.create", metadata=metadata)
    for name in ("One", "Two"):
        await stripe_sandbox.call("customers.update", customer["id"], name=name)
    delivered, dropped = await stripe_sandbox.events("customer.updated")
    await stripe_sandbox.send(client, delivered)
    assert await backfill(database, stripe_sandbox.client) == 2
    assert await backfill(database, stripe_sandbox.client) == 0
    rows = {row.id: row for row in await db.scalars(select(StripeEvent))}
    assert rows[dropped["id"]].endpoint == "backfill"
    assert rows[delivered["id"]].endpoint == "/api/stripe/webhook"
    assert {row.status for row in rows.values() if row.type == "customer.created"} == {"skipped"}
    await handle_events(database)
    assert seen == [customer["id"]] * 2
    assert await differences(db) == []


@pytest.mark.usefixtures("alone")
async def test_backfill_when_an_event_is_long_overdue(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    customer = await stripe_sandbox.call("customers.create")
    await stripe_sandbox.call("customers.update", customer["id"], name="One")
    (event,) = await stripe_sandbox.events("customer.updated")
    with clock.travel(LATER):
        await backfill(database, stripe_sandbox.client)
    (row,) = await differences(db)
    assert (row.kind, row.stripe_id, row.status) == ("missing_event", event["id"], "repaired")
    assert await db.scalar(select(EventOutbox.type)) == "stripe.difference_found"


def by_stripe(intent: dict[str, Any]) -> dict[str, Any]:
    """The columns of a payment by this intent."""
    return {"method": "stripe", "stripe_payment_intent_id": intent["id"]}


async def intent_of(stripe: StripeSandbox, order: Order, amount: int) -> dict[str, Any]:
    return await stripe.call(
        "payment_intents.create",
        amount=amount,
        currency="eur",
        payment_method="pm_card_visa",
        confirm=True,
        metadata={"organization_id": str(order.organization_id), "order_id": str(order.id)},
    )


@pytest.mark.usefixtures("alone")
async def test_payment_when_its_order_does_not_know_it(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    intent = await intent_of(stripe_sandbox, order, 5000)
    foreign = await stripe_sandbox.call(
        "payment_intents.create",
        amount=100,
        currency="eur",
        payment_method="pm_card_visa",
        confirm=True,
        metadata={"order_id": "somebody's"},
    )
    await reconcile(database)
    assert await differences(db) == []
    for _ in range(2):
        with clock.travel(LATER):
            await reconcile(database)
    (row,) = [row for row in await differences(db) if row.kind != "missing_event"]
    assert (row.kind, row.stripe_id, row.status) == ("orphan_payment", intent["id"], "open")
    assert row.organization_id == alice.organization_id
    assert row.expected == {"status": "succeeded", "amount": 5000, "currency": "eur"}
    assert row.last_seen_at > row.first_seen_at
    assert foreign["id"] != row.stripe_id
    applied: list[str] = []

    async def effect(session: SystemSession, fetched: dict[str, Any], _: StripeEventRow) -> None:
        found = await session.get_one(Order, (order.organization_id, order.id))
        await make_payment(session, order=found, amount=5000, **by_stripe(fetched))
        applied.append(fetched["id"])

    on_stripe("payment_intent.succeeded")(effect)
    for _ in range(2):
        await repair_difference(database, row.id, "test")
    assert applied == [intent["id"]]
    (row,) = [row for row in await differences(db) if row.kind == "orphan_payment"]
    assert (row.status, row.closed_by) == ("repaired", "test")


@pytest.mark.usefixtures("alone")
async def test_difference_when_it_is_gone_by_itself(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    intent = await intent_of(stripe_sandbox, order, 5000)
    with clock.travel(LATER):
        await reconcile(database)
        await make_payment(db, order=order, amount=4000, **by_stripe(intent))
        await db.commit()
        await reconcile(database)
    rows = {row.kind: row for row in await differences(db)}
    assert (rows["orphan_payment"].status, rows["orphan_payment"].closed_by) == (
        "repaired",
        "reconcile_stripe",
    )
    assert (rows["amount_drift"].status, rows["amount_drift"].actual) == ("open", {"amount": 4000})


@pytest.mark.usefixtures("alone")
async def test_refund_when_it_was_made_in_the_dashboard(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    intent = await intent_of(stripe_sandbox, order, 5000)
    await make_payment(db, order=order, amount=5000, **by_stripe(intent))
    await db.commit()
    refund = await stripe_sandbox.call("refunds.create", payment_intent=intent["id"], amount=1200)
    with clock.travel(LATER):
        await reconcile(database)
    rows = {row.kind: row for row in await differences(db)}
    found = rows["unknown_refund"]
    assert (found.stripe_id, found.expected["amount"]) == (refund["id"], 1200)
    assert rows["ledger_gap"].stripe_id == intent["id"]
    imported: list[list[str]] = []

    async def effect(_: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> None:
        assert event.owner == alice.organization_id
        imported.append([item["id"] for item in fetched["refunds"]])

    on_stripe("charge.refunded")(effect)
    await bind(db, intent["id"], "payment_intent", alice.organization_id)
    await db.commit()
    await repair_difference(database, found.id, "test")
    assert imported == [[refund["id"]]]


async def test_reconciliation_when_there_is_no_stripe(
    database: Database, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "environment", "production")
    before: StripeClient | None = use_client(None)
    try:
        await reconcile(database)
    finally:
        use_client(before)
    assert await differences(db) == []


def mirror(alice: Persona, **changes: Any) -> Mirror:
    values = {"stripe_id": "x_1", "organization_id": alice.organization_id, "local_id": alice.user_id}
    return Mirror(**{**values, "status": "applied", "amount": 500, **changes})


async def test_subscription_when_it_differs(alice: Persona) -> None:
    found = {"id": "sub_1", "status": "active"}
    owner = alice.organization_id
    assert list(subscription_differences(found, mirror(alice, status="active"), owner)) == []
    for here in (None, mirror(alice, status="past_due")):
        (difference,) = subscription_differences(found, here, owner)
        assert (difference.kind, difference.repair) == ("status_drift", "customer.subscription.updated")
    assert ended_subscription(mirror(alice, status="active")).kind == "status_drift"


@pytest.mark.parametrize(
    ("changes", "charged", "kind"),
    [
        ({}, {"in_1"}, None),
        ({"status": "open"}, {"in_1"}, "status_drift"),
        ({"amount": 400}, {"in_1"}, "amount_drift"),
        ({}, set(), "ledger_gap"),
    ],
)
async def test_invoice_when_it_differs(
    alice: Persona, changes: dict[str, Any], charged: set[str], kind: str | None
) -> None:
    found = {"id": "in_1", "status": "paid", "total": 500, "amount_paid": 500}
    here = mirror(alice, **{"status": "paid", **changes})
    kinds = [item.kind for item in invoice_differences(found, here, alice.organization_id, charged)]
    assert kinds == ([kind] if kind else [])
    assert [item.kind for item in invoice_differences(found, None, alice.organization_id, charged)] == [
        "status_drift"
    ]


@pytest.mark.parametrize(
    ("changes", "charged", "kind"),
    [
        ({}, {"pi_1"}, None),
        ({"status": "unapplied"}, {"pi_1"}, None),
        ({"status": "authorized"}, {"pi_1"}, "status_drift"),
        ({"status": "voided"}, {"pi_1"}, "status_drift"),
        ({"amount": 400}, {"pi_1"}, "amount_drift"),
        ({"order_status": "cancelled"}, {"pi_1"}, "paid_but_closed"),
        ({"order_status": "expired", "kept": 0}, {"pi_1"}, None),
        ({}, set(), "ledger_gap"),
    ],
)
async def test_payment_when_it_differs(
    alice: Persona, changes: dict[str, Any], charged: set[str], kind: str | None
) -> None:
    found = {"id": "pi_1", "status": "succeeded", "amount_received": 500, "currency": "eur", "metadata": {}}
    here = mirror(alice, **{"order_status": "processing", "kept": 500, **changes})
    kinds = [item.kind for item in payment_differences(found, here, alice.organization_id, charged)]
    assert kinds == ([kind] if kind else [])


async def test_refund_when_it_differs(alice: Persona) -> None:
    found = {"id": "re_1", "status": "succeeded", "amount": 500, "currency": "eur"}
    payment = mirror(alice, stripe_id="pi_1")
    for here, kind in (
        (mirror(alice, status="succeeded"), None),
        (mirror(alice, status="pending"), "status_drift"),
        (mirror(alice, status="succeeded", amount=400), "amount_drift"),
        (None, "unknown_refund"),
    ):
        made = list(refund_differences(found, here, payment))
        assert [item.kind for item in made] == ([kind] if kind else [])
        for item in made:
            hint = hint_of(str(item.repair), item.stripe_id, item.expected)
            assert hint == {"id": "re_1", "object": "refund", "payment_intent": "pi_1"}


@pytest.mark.usefixtures("alone")
async def test_subscription_when_no_event_of_it_came(
    database: Database, db: SystemSession, stripe_sandbox: StripeSandbox, alice: Persona
) -> None:
    owner = {"organization_id": str(alice.organization_id)}
    customers = [await stripe_sandbox.call("customers.create", metadata=found) for found in (owner, {})]
    product = await stripe_sandbox.call("products.create", name="Pro")
    price = await stripe_sandbox.call(
        "prices.create",
        product=product["id"],
        currency="eur",
        unit_amount=2900,
        recurring={"interval": "month"},
    )
    await bind(db, customers[0]["id"], "customer", alice.organization_id)
    await db.commit()
    subscriptions = []
    for customer in customers:
        method = await stripe_sandbox.call("payment_methods.attach", "pm_card_visa", customer=customer["id"])
        subscriptions.append(
            await stripe_sandbox.call(
                "subscriptions.create",
                customer=customer["id"],
                items=[{"price": price["id"]}],
                default_payment_method=method["id"],
            )
        )
    with clock.travel(LATER):
        await reconcile(database)
    found = {row.stripe_id: row for row in await differences(db) if row.kind != "missing_event"}
    ours = subscriptions[0]
    assert set(found) == {ours["id"], ours["latest_invoice"]}
    assert {row.kind for row in found.values()} == {"status_drift"}
    assert found[ours["id"]].expected == {"status": "active"}
    assert found[ours["latest_invoice"]].repair == "invoice.paid"
