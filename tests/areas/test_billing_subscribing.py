"""Buying a plan: one page, one subscription, whatever the order and number of deliveries."""

import asyncio
import hashlib
import json
from itertools import permutations
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text, update

from app.core.database import Database, SystemSession
from app.models.billing import BillingCheckout, BillingCustomer, Plan, RevenueEntry, Subscription
from app.models.stripe_webhooks import StripeEvent
from app.services.stripe_webhooks.processing import process_event
from tests.support.billing import Shop
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits

TOLD = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "invoice.paid",
    "checkout.session.completed",
)

MIRRORS = ("subscriptions", "payment_methods", "invoices", "invoice_lines", "revenue_tracking")

OWN = ("id", "invoice_id", "synced_at", "created_at", "updated_at", "version")
"""Columns that are ours, and not what Stripe says."""


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def told(db: SystemSession, kind: str) -> int:
    found = await db.scalar(text("SELECT count(*) FROM event_outbox WHERE type = :kind"), {"kind": kind})
    return int(found or 0)


async def row_hash(db: SystemSession) -> str:
    """One number for everything that mirrors Stripe."""
    content: dict[str, Any] = {}
    for table in (*MIRRORS, "billing_checkouts", "billing_customers"):
        rows = await db.scalars(text(f"SELECT to_jsonb(r) FROM {table} r"))  # noqa: S608 - names of this file
        content[table] = sorted(
            json.dumps({name: value for name, value in row.items() if name not in OWN}, sort_keys=True)
            for row in rows
        )
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


async def test_plan_when_it_is_bought(shop: Shop, alice: Persona, db: SystemSession) -> None:
    subscription = await shop.buy(alice)
    assert (subscription.plan_code, subscription.status) == ("premium", "active")
    shown = (await shop.client.get("/api/billing/subscription", headers=alice.headers)).json()
    assert (shown["plan"], shown["status"], shown["access"]) == ("premium", "active", "full")
    assert (shown["amount"], shown["currency"], shown["interval"]) == (4700, "EUR", "month")
    assert {item["metric"]: item["limit"] for item in shown["usage_summary"]}["products"] == 500
    entries = (await db.execute(select(RevenueEntry.amount, RevenueEntry.account))).all()
    assert entries == [(4700, "platform")]
    methods = (await shop.client.get("/api/billing/payment-methods", headers=alice.headers)).json()["items"]
    assert [(item["type"], item["last4"], item["is_default"]) for item in methods] == [("card", "4242", True)]
    assert (await shop.checkout(alice)).json()["code"] == "subscription_exists"
    told = text("SELECT type, body::jsonb -> 'actor', body::jsonb -> 'data' FROM event_outbox ORDER BY id")
    events = {row[0]: (row[1], row[2]) for row in await db.execute(told)}
    assert events["subscription.created"][0] == {"type": "stripe", "id": None}
    added = events["payment_method.added"][1]
    assert (set(added), added["type"]) == ({"payment_method_id", "type", "last4"}, "card")


async def test_rows_when_events_come_in_each_of_24_orders(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    answer = await shop.checkout(alice)
    await shop.pay(answer.json()["session_id"])
    # One change more, so that there is an `updated` event.
    (created,) = await shop.stripe.events("customer.subscription.created")
    subscription_id = created["data"]["object"]["id"]
    await shop.stripe.call("subscriptions.update", subscription_id, metadata={"touched": "yes"})
    by_type = {kind: (await shop.stripe.events(kind))[-1]["id"] for kind in TOLD}
    hashes = set()
    for order in permutations(TOLD):
        await db.execute(text(f"TRUNCATE {', '.join(MIRRORS)}, stripe_events"))
        await db.execute(update(BillingCheckout).values(status="open"))
        await db.commit()
        for kind in order:
            await shop.stripe.deliver(shop.client, order=[by_type[kind]], again=True)
            await shop.process()
        hashes.add(await row_hash(db))
        assert await db.scalar(select(Subscription.status)) == "active"
        assert await db.scalar(select(func.count()).select_from(RevenueEntry)) == 1
        await db.commit()
    assert len(hashes) == 1


async def test_event_when_it_comes_20_times_at_once(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    answer = await shop.checkout(alice)
    await shop.pay(answer.json()["session_id"])
    (event,) = await shop.stripe.events("invoice.paid")
    answers = await asyncio.gather(*(shop.stripe.send(shop.client, event) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    await asyncio.gather(*(process_event(database, event["id"]) for _ in range(20)))
    assert await db.scalar(select(StripeEvent.status)) == "done"
    for kind in ("subscription.created", "invoice.paid", "invoice.created"):
        assert await told(db, kind) == 1
    assert await db.scalar(select(func.count()).select_from(RevenueEntry)) == 1


async def test_checkout_when_ten_ask_at_once(shop: Shop, alice: Persona, db: SystemSession) -> None:
    answers = await asyncio.gather(*(shop.checkout(alice) for _ in range(10)))
    assert sorted({answer.status_code for answer in answers}) == [200, 201]
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    sessions = await shop.stripe.call("checkout.sessions.list")
    assert len(sessions["data"]) == 1
    customers = await shop.stripe.call("customers.list")
    assert len(customers["data"]) == 1
    assert await db.scalar(select(BillingCustomer.stripe_customer_id)) == customers["data"][0]["id"]


@pytest.mark.commits
async def test_checkouts_when_two_plans_are_asked_for_at_once(shop: Shop, alice: Persona) -> None:
    """Nobody is given the page of another plan than they asked for; who comes second may ask again."""
    amounts = {"premium": 4700, "business": 14900}
    answers = await asyncio.gather(*(shop.checkout(alice, plan) for plan in amounts))
    assert 201 in {answer.status_code for answer in answers}
    for plan, answer in zip(amounts, answers, strict=True):
        assert answer.status_code in {200, 201} or answer.json()["code"] == "checkout_in_progress"
        page = await shop.checkout(alice, plan) if answer.status_code == 409 else answer
        sold = await shop.stripe.call("checkout.sessions.retrieve", page.json()["session_id"])
        assert sold["amount_total"] == amounts[plan]


async def test_checkout_when_stripe_knows_neither_customer_nor_price(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    """Whoever repeats is sold the plan: what Stripe does not know is made anew there."""
    opened = await shop.client.post(
        "/api/billing/portal", json={"return_path": "/billing"}, headers=alice.headers
    )
    assert opened.status_code == 201
    before = await db.scalar(select(BillingCustomer.stripe_customer_id))
    await shop.control("reset")
    codes = []
    for _ in range(3):
        await handle_events(database)
        answer = await shop.checkout(alice)
        codes.append(answer.json().get("code"))
        if answer.is_success:
            break
    assert (answer.status_code, set(codes)) == (201, {None, "provider_out_of_sync"})
    assert await db.scalar(select(BillingCustomer.stripe_customer_id)) not in {None, before}


async def test_checkout_when_another_price_is_asked_for(shop: Shop, alice: Persona) -> None:
    first = (await shop.checkout(alice)).json()
    second = (await shop.checkout(alice, "business")).json()
    assert first["session_id"] != second["session_id"]
    await shop.settle()
    found = await shop.stripe.call("checkout.sessions.retrieve", first["session_id"])
    assert found["status"] == "expired"


async def test_second_subscription_when_both_checkouts_are_paid(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    first = (await shop.checkout(alice)).json()["session_id"]
    second = (await shop.checkout(alice, "business")).json()["session_id"]
    await shop.pay(first)
    await shop.pay(second)
    await shop.settle()
    rows = (await db.execute(select(Subscription.status, Subscription.plan_code))).all()
    assert sorted(rows) == [("active", "premium"), ("canceled", "business")]
    theirs = (await shop.stripe.call("subscriptions.list", status="all"))["data"]
    assert sorted(item["status"] for item in theirs) == ["active", "canceled"]
    refunds = (await shop.stripe.call("refunds.list"))["data"]
    assert [(item["amount"], item["status"]) for item in refunds] == [(14900, "succeeded")]
    assert await told(db, "subscription.duplicate_refunded") == 1
    amounts = await db.scalars(select(RevenueEntry.amount).order_by(RevenueEntry.amount))
    assert list(amounts) == [-14900, 4700, 14900]


async def test_checkout_when_the_page_is_synced(shop: Shop, alice: Persona, charlie: Persona) -> None:
    session_id = (await shop.checkout(alice)).json()["session_id"]
    await shop.pay(session_id)
    path = f"/api/billing/checkout/{session_id}/sync"
    assert (await shop.client.post(path, headers=charlie.headers)).status_code == 404
    answer = await shop.client.post(path, headers=alice.headers)
    assert (answer.status_code, answer.json()["plan"]) == (200, "premium")


async def test_trial_when_it_was_had_before(
    shop: Shop, alice: Persona, charlie: Persona, db: SystemSession
) -> None:
    await db.execute(update(Plan).where(Plan.code == "premium").values(trial_days=14))
    await db.commit()
    trial = await shop.buy(alice)
    assert trial.status == "trialing"
    ended = await shop.client.post(
        "/api/billing/subscription/cancel", json={"at": "now"}, headers=alice.headers
    )
    assert ended.json()["status"] is None
    await shop.settle()
    assert (await shop.buy(alice)).status == "active"
    # The same card in another organisation: its trial ends at once, and is paid for.
    other = await shop.buy(charlie)
    assert other.status == "active"
    assert other.trial_start is not None


async def test_price_when_stripe_has_another(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await db.execute(text("UPDATE plan_prices SET drift = 'amount' WHERE plan_code = 'premium'"))
    await db.commit()
    refused = await shop.checkout(alice)
    assert (refused.status_code, refused.json()["code"]) == (503, "plan_not_sellable")


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/a\\b", "/a\nb"])
async def test_checkout_when_it_leads_elsewhere(shop: Shop, alice: Persona, path: str) -> None:
    refused = await shop.checkout(alice, success_path=path)
    assert (refused.status_code, refused.json()["code"]) == (422, "return_path_invalid")


async def test_price_when_it_is_changed_at_stripe(shop: Shop, alice: Persona) -> None:
    found = await shop.stripe.call("prices.list", lookup_keys=["luneo_premium_month_eur"])
    for is_active, status in ((False, 503), (True, 201)):
        await shop.stripe.call("prices.update", found["data"][0]["id"], active=is_active)
        await shop.settle()
        assert (await shop.checkout(alice)).status_code == status
