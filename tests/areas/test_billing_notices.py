"""What those who pay are told in time, and what operators hear when the price list is not Stripe's."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, text

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.models.billing import Invoice, PaymentMethod, PlanPrice
from app.models.stripe_webhooks import StripeDifference, StripeEvent
from app.services.billing.paying.catalog import check_catalog
from tests.support.billing import Shop
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_events import event_of
from tests.support.stripe_sandbox import StripeSandbox


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def told(db: SystemSession, kind: str) -> int:
    return len((await db.scalars(select(EventOutbox.id).where(EventOutbox.type == kind))).all())


async def mails(shop: Shop, to: str) -> list[str]:
    found = await shop.client.get("/sandbox/mail.json", params={"to": to})
    return [item["template"] for item in found.json()["items"]]


async def customer_of(shop: Shop) -> str:
    return str((await shop.stripe.call("customers.list"))["data"][0]["id"])


async def word_of(db: SystemSession, kind: str) -> Any:
    result = await db.scalar(select(StripeEvent.result).where(StripeEvent.type == kind))
    return (result or {}).get("applied")


async def test_renewal_when_it_comes_closer(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    await shop.buy(alice)
    with clock.travel(timedelta(days=25)):
        await shop.settle_at_stripe()
        await shop.stripe.deliver(shop.client, "invoice.upcoming", times=3)
        await shop.process()
        assert await told(db, "invoice.upcoming") == 1
        await handle_events(database)
        assert (await mails(shop, alice.email)).count("subscription_reminder") == 1
    mail = await shop.client.get("/sandbox/mail.json", params={"to": alice.email})
    (item,) = (item for item in mail.json()["items"] if item["template"] == "subscription_reminder")
    assert item["locale"] == "fr"
    assert "47,00\u00a0EUR" in item["text"]


async def test_renewal_when_it_was_called_off_since(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    with clock.travel(timedelta(days=25)):
        await shop.settle_at_stripe()
        (subscription,) = (await shop.stripe.call("subscriptions.list"))["data"]
        await shop.stripe.call("subscriptions.update", subscription["id"], cancel_at_period_end=True)
        await shop.stripe.deliver(shop.client, "customer.subscription.updated")
        await shop.process()
        await shop.settle()
        assert await word_of(db, "invoice.upcoming") == ["not_renewed"]
    assert await told(db, "invoice.upcoming") == 0


async def test_renewal_when_the_news_is_too_late(shop: Shop, alice: Persona, db: SystemSession) -> None:
    subscription = await shop.buy(alice)
    details = {"subscription_details": {"subscription": subscription.stripe_subscription_id}}
    late = {
        "id": "upcoming_in_1",
        "object": "invoice",
        "customer": await customer_of(shop),
        "parent": details,
        "amount_due": 4700,
        "currency": "eur",
        "next_payment_attempt": int(clock.now().timestamp()) - 60,
    }
    await shop.stripe.send(shop.client, event_of("invoice.upcoming", late))
    await shop.process()
    assert await word_of(db, "invoice.upcoming") == ["too_late"]


async def test_setup_when_the_bank_refuses_it_three_times(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    answer = await shop.client.post("/api/billing/payment-methods", headers=alice.headers)
    setup = answer.json()["setup_intent_id"]
    for _ in range(3):
        with pytest.raises(Exception, match="could not be set up"):
            await shop.stripe.call(
                "setup_intents.confirm", setup, payment_method="pm_card_visa_chargeDeclined"
            )
    await shop.settle()
    assert await told(db, "payment_method.setup_failed") == 1
    await handle_events(database)
    assert (await mails(shop, alice.email)).count("billing_setup_failed") == 1


async def test_setup_when_a_later_try_went_well(shop: Shop, alice: Persona, db: SystemSession) -> None:
    answer = await shop.client.post("/api/billing/payment-methods", headers=alice.headers)
    setup = answer.json()["setup_intent_id"]
    with pytest.raises(Exception, match="could not be set up"):
        await shop.stripe.call("setup_intents.confirm", setup, payment_method="pm_card_visa_chargeDeclined")
    await shop.stripe.call("setup_intents.confirm", setup, payment_method="pm_card_visa")
    await shop.settle()
    assert await told(db, "payment_method.setup_failed") == 0
    assert (await db.scalars(select(PaymentMethod.last4))).all() == ["4242"]


async def test_method_when_a_checkout_sets_it_up(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    page = await shop.stripe.call(
        "checkout.sessions.create",
        mode="setup",
        currency="eur",
        customer=await customer_of(shop),
        success_url="https://app.luneo.test/",
    )
    await shop.pay(page["id"], "paypal")
    await shop.stripe.deliver(shop.client, "checkout.session.completed")
    await shop.process()
    kinds = await db.scalars(select(PaymentMethod.type).where(PaymentMethod.detached_at.is_(None)))
    assert sorted(kinds) == ["card", "paypal"]


async def test_invoice_when_stripe_cannot_finalise_it(
    shop: Shop, alice: Persona, db: SystemSession, capsys: pytest.CaptureFixture[str]
) -> None:
    await shop.buy(alice)
    (invoice,) = (await shop.stripe.call("invoices.list"))["data"]

    def stick(state: Any) -> None:
        found = state.objects[invoice["id"]]
        found.update(status="draft", last_finalization_error={"code": "customer_tax_location_invalid"})
        state.emit("invoice.finalization_failed", found)

    await db.execute(text("TRUNCATE invoices CASCADE"))
    await db.commit()
    await shop.stripe.sandbox.change(stick)
    capsys.readouterr()
    await shop.stripe.deliver(shop.client, "invoice.finalization_failed")
    await shop.process()
    assert "an invoice cannot be finalised" in "".join(capsys.readouterr())
    shown = await shop.client.get("/api/billing/invoices", headers=alice.headers)
    found = await shop.client.get(
        f"/api/billing/invoices/{shown.json()['items'][0]['id']}", headers=alice.headers
    )
    assert found.json()["last_payment_error"] == "customer_tax_location_invalid"


async def premium(db: SystemSession) -> PlanPrice:
    found = (
        await db.scalars(select(PlanPrice).where(PlanPrice.lookup_key == "luneo_premium_month_eur"))
    ).one()
    await db.refresh(found)
    return found


async def waiting_checks(db: SystemSession) -> int:
    statement = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'check_stripe_catalog'"
    return int(await db.scalar(text(statement)) or 0)


async def test_price_when_it_is_switched_off_and_on_at_stripe(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    price = await premium(db)
    assert price.stripe_price_id is not None
    for is_active in (False, True):
        await shop.stripe.call("prices.update", price.stripe_price_id, active=is_active)
        await shop.stripe.deliver(shop.client, "price.updated", times=2)
        await shop.process()
        drift = (await premium(db)).drift
        assert drift == (None if is_active else "active: True here, False there")
        refused = await shop.checkout(alice)
        assert refused.status_code == (201 if is_active else 503)
    assert await told(db, "stripe.catalog_drift") == 1


async def test_catalogue_when_a_product_is_archived_or_a_key_moves(shop: Shop, db: SystemSession) -> None:
    await shop.settle()
    await db.execute(text("DELETE FROM procrastinate_jobs"))
    await db.commit()
    price = await premium(db)
    theirs = await shop.stripe.call("prices.retrieve", str(price.stripe_price_id))
    await shop.stripe.call("products.update", theirs["product"], active=False)
    await shop.settle()
    assert await waiting_checks(db) == 1
    await db.execute(text("DELETE FROM procrastinate_jobs"))
    await db.commit()
    await shop.stripe.call(
        "prices.create",
        currency="eur",
        unit_amount=4700,
        recurring={"interval": "month"},
        product_data={"name": "Another"},
        lookup_key="luneo_premium_month_eur",
        transfer_lookup_key=True,
    )
    await shop.stripe.deliver(shop.client, "price.created")
    await shop.process()
    assert await waiting_checks(db) == 1


async def test_price_when_its_product_is_archived(
    shop: Shop, database: Database, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = await premium(db)
    theirs = await shop.stripe.call("prices.retrieve", str(price.stripe_price_id))
    await shop.stripe.call("products.update", theirs["product"], active=False)
    # A real Stripe, where the service makes no products.
    monkeypatch.setattr(shop.stripe.client, "sandbox", None)
    await check_catalog(database)
    assert (await premium(db)).drift == "product: for sale here, not for sale there"


async def open_drifts(db: SystemSession) -> list[str]:
    found = await db.scalars(
        select(StripeDifference.stripe_id).where(
            StripeDifference.kind == "catalog_drift", StripeDifference.status == "open"
        )
    )
    return sorted(found)


async def test_drift_when_a_price_and_the_portal_are_wrong_until_they_are_right(
    shop: Shop, alice: Persona, database: Database, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = str((await premium(db)).stripe_price_id)
    portal = (await shop.stripe.call("billing_portal.configurations.list"))["data"][0]["id"]
    theirs = await shop.stripe.call("prices.retrieve", price)
    switch = {
        "default_allowed_updates": ["price"],
        "products": [{"product": theirs["product"], "prices": [price]}],
    }
    updates = {"subscription_update": {"enabled": True, **switch}}
    await shop.stripe.call("billing_portal.configurations.update", portal, features=updates)
    refused = await shop.client.post(
        "/api/billing/portal", json={"return_path": "/billing"}, headers=alice.headers
    )
    assert (refused.status_code, refused.json()["code"]) == (503, "portal_misconfigured")
    assert await open_drifts(db) == [portal]
    monkeypatch.setattr(shop.stripe.client, "sandbox", None)
    await shop.stripe.call("prices.update", price, active=False)
    await check_catalog(database)
    await check_catalog(database)
    assert await open_drifts(db) == sorted([portal, price])
    assert await told(db, "stripe.difference_found") == 2
    await shop.stripe.call("prices.update", price, active=True)
    updates = {"subscription_update": {"enabled": False}}
    await shop.stripe.call("billing_portal.configurations.update", portal, features=updates)
    await check_catalog(database)
    assert await open_drifts(db) == []


async def test_invoice_when_a_card_refuses_it_and_another_pays(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    subscription = await shop.buy(alice)
    stripe_id, customer = subscription.stripe_subscription_id, await customer_of(shop)

    async def pay_with(card: str) -> None:
        made = await shop.stripe.call("payment_methods.attach", card, customer=customer)
        settings = {"default_payment_method": made["id"]}
        await shop.stripe.call("customers.update", customer, invoice_settings=settings)
        await shop.stripe.call("subscriptions.update", stripe_id, default_payment_method=made["id"])

    async def reason() -> str | None:
        row = (await db.scalars(select(Invoice).order_by(Invoice.created_at.desc()).limit(1))).one()
        await db.refresh(row)
        return row.last_payment_error

    assert await reason() is None
    await pay_with("pm_sbx_attach_only")
    await shop.control("clock", advance="P32D")
    await shop.settle()
    assert await reason() == "generic_decline"
    await pay_with("pm_card_mastercard")
    invoice = (await shop.subscription(alice)).latest_stripe_invoice_id
    assert invoice is not None
    await shop.stripe.call("invoices.pay", invoice)
    await shop.settle()
    assert await reason() is None
