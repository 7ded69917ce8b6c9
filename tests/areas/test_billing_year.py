"""A year of a subscription in seconds: renewals, a card that fails, an upgrade; and access along the way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.errors import PaymentRequired
from app.models.billing import Invoice, PlanPrice, RevenueEntry, Subscription
from app.services.billing.entitlements import Entitlements, check_gauge, entitlements
from app.services.billing.paying.upkeep import close_checkouts, tell_grace_over
from tests.support.billing import Shop
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def given(database: Database, who: Persona) -> Entitlements:
    async with database.system(autocommit=True) as session:
        return await entitlements(session, who.organization_id)


async def pay_with(shop: Shop, card: str) -> None:
    """Have renewals paid with a card, as the portal would."""
    subscription = (await shop.stripe.call("subscriptions.list", status="all"))["data"][0]
    customer = subscription["customer"]
    made = await shop.stripe.call("payment_methods.attach", card, customer=customer)
    settings = {"default_payment_method": made["id"]}
    await shop.stripe.call("customers.update", customer, invoice_settings=settings)
    await shop.stripe.call("subscriptions.update", subscription["id"], default_payment_method=made["id"])
    await shop.settle()


async def assert_equal_to_stripe(shop: Shop, db: SystemSession) -> None:
    """Every mirror says what Stripe says."""
    (theirs,) = (await shop.stripe.call("subscriptions.list", status="all"))["data"]
    row = (await db.scalars(select(Subscription))).one()
    await db.refresh(row)
    item = theirs["items"]["data"][0]
    price = await db.get_one(PlanPrice, row.price_id)
    assert (row.status, price.stripe_price_id) == (theirs["status"], item["price"]["id"])
    assert row.current_period_end == datetime.fromtimestamp(item["current_period_end"], UTC)
    assert row.latest_stripe_invoice_id == theirs["latest_invoice"]
    invoices = {}
    async for invoice in shop.stripe.client.pages("invoices.list", params={"limit": 100}):
        invoices[invoice["id"]] = (
            invoice["status"],
            invoice["number"],
            invoice["total"],
            invoice["amount_paid"],
            invoice["attempt_count"],
        )
    found = await db.execute(
        select(
            Invoice.stripe_invoice_id,
            Invoice.status,
            Invoice.invoice_number,
            Invoice.amount,
            Invoice.amount_paid,
            Invoice.attempt_count,
        )
    )
    assert {line[0]: tuple(line[1:]) for line in found} == invoices
    paid = sum(invoice[3] for invoice in invoices.values())
    assert await db.scalar(select(func.sum(RevenueEntry.amount))) == paid


async def test_year_when_a_card_fails_in_it(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    await shop.buy(alice)
    for month in range(1, 5):
        with clock.travel(timedelta(days=31 * month)):
            await shop.settle_at_stripe()
            await shop.settle()
            assert (await given(database, alice)).access == "full"
    await assert_equal_to_stripe(shop, db)
    # From here on the card is refused.
    await pay_with(shop, "pm_sbx_attach_only")
    due = timedelta(days=31 * 5)
    with clock.travel(due):
        await shop.settle_at_stripe()
        await shop.settle()
        subscription = await shop.subscription(alice)
        assert subscription.status == "past_due"
        assert subscription.past_due_since is not None
        past_due_since = subscription.past_due_since
        await handle_events(database)
        in_grace = await given(database, alice)
        assert (in_grace.access, in_grace.plan, in_grace.limits["products"]) == ("grace", "premium", 500)
    after_grace = past_due_since + timedelta(days=7, hours=1) - datetime.now(UTC)
    with clock.travel(after_grace):
        overdue = await given(database, alice)
        assert (overdue.access, overdue.plan) == ("read_only", "premium")
        assert (overdue.limits["products"], overdue.limits["audit_days"]) == (10, 90)
        async with database.system() as session:
            with pytest.raises(PaymentRequired, match="subscription_inactive"):
                await check_gauge(session, alice.organization_id, "products", 1, used=10)
        await shop.settle_at_stripe()
        await shop.settle()
        assert (await shop.subscription(alice)).past_due_since == past_due_since
        # Another card, and what is owed is paid.
        await pay_with(shop, "pm_card_mastercard")
        invoice = (await shop.subscription(alice)).latest_stripe_invoice_id
        assert invoice is not None
        await shop.stripe.call("invoices.pay", invoice)
        await shop.settle()
        recovered = await shop.subscription(alice)
        assert (recovered.status, recovered.past_due_since) == ("active", None)
        assert (await given(database, alice)).access == "full"
    for month in range(7, 13):
        with clock.travel(timedelta(days=31 * month)):
            await shop.settle_at_stripe()
            if month == 9:
                await upgrade(shop)
            await shop.settle()
            assert (await given(database, alice)).access == "full"
    assert (await given(database, alice)).plan == "business"
    await assert_equal_to_stripe(shop, db)
    await handle_events(database)
    mails = await shop.client.get("/sandbox/mail.json", params={"to": alice.email})
    templates = [item["template"] for item in mails.json()["items"]]
    assert templates.count("payment_success") == 1
    assert templates.count("invoice_payment_failed") == 1


async def upgrade(shop: Shop) -> None:
    """Choose the larger plan, as an operator does at Stripe."""
    subscription = (await shop.stripe.call("subscriptions.list", status="all"))["data"][0]
    prices = await shop.stripe.call("prices.list", lookup_keys=["luneo_business_month_eur"])
    item = {"id": subscription["items"]["data"][0]["id"], "price": prices["data"][0]["id"]}
    await shop.stripe.call(
        "subscriptions.update", subscription["id"], items=[item], proration_behavior="always_invoice"
    )


async def test_dunning_when_nobody_pays(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    await pay_with(shop, "pm_sbx_attach_only")
    await shop.control("clock", advance="P32D")
    await shop.settle()
    assert (await shop.subscription(alice)).status == "past_due"
    await shop.control("clock", advance="P20D")
    await shop.settle()
    assert (await shop.subscription(alice)).status == "canceled"
    shown = (await shop.client.get("/api/billing/subscription", headers=alice.headers)).json()
    assert (shown["plan"], shown["access"], shown["status"]) == ("free", "free", None)
    await assert_equal_to_stripe(shop, db)


async def test_grace_when_it_is_over(shop: Shop, alice: Persona, database: Database) -> None:
    await shop.buy(alice)
    await pay_with(shop, "pm_sbx_attach_only")
    with clock.travel(timedelta(days=31)):
        await shop.settle_at_stripe()
        await shop.settle()
    since = (await shop.subscription(alice)).past_due_since
    assert since is not None
    told: list[int] = []
    for day in range(6, 11):
        at = since.replace(hour=0, minute=20) + timedelta(days=day) - datetime.now(UTC)
        with clock.travel(at):
            async with database.transaction() as session:
                told.append(await tell_grace_over(session))
    assert (sum(told), len(told)) == (1, 5)


async def test_checkout_when_its_time_is_over(shop: Shop, alice: Persona, database: Database) -> None:
    first: dict[str, Any] = (await shop.checkout(alice)).json()
    with clock.travel(timedelta(hours=25)):
        async with database.transaction() as session:
            assert await close_checkouts(session) == 1
            assert await close_checkouts(session) == 0
    assert (await shop.checkout(alice)).json()["session_id"] != first["session_id"]
