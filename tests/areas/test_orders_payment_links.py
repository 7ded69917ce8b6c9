"""Orders that payment links of Stripe become: one for each paid session, however often it is told of."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.clients.stripe.sandbox.state import State
from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.orders import expire_order
from app.models.billing import Invoice, RevenueEntry
from app.models.notifications import Email
from app.models.orders import Order, OrderPayment, OrderSettings
from app.models.products import Product
from app.models.realtime import EventLog
from app.models.stripe_webhooks import StripeDifference, StripeEvent
from app.services.billing.usage import count
from app.services.orders.verifying import report_money
from app.services.products.stock import report_drift
from app.services.stripe_webhooks.comparing import sale_differences
from app.services.stripe_webhooks.link_sessions import link_order_id
from app.services.stripe_webhooks.processing import process_event
from app.services.stripe_webhooks.reconciling import reconcile, repair_difference
from tests.factories.orders import order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.stripe_events import event_of
from tests.support.stripe_orders import act, control, settle, states
from tests.support.stripe_sandbox import StripeSandbox

Recorder = Callable[[], AbstractContextManager[list[str]]]

BUYER = "buyer@example.com"


class LinkShop:
    """A shop that sells by payment links."""

    def __init__(
        self,
        client: AsyncClient,
        db: SystemSession,
        database: Database,
        alice: Persona,
        stripe: StripeSandbox,
    ) -> None:
        self.client, self.db, self.database, self.alice, self.stripe = client, db, database, alice, stripe

    async def price(self, product: Product | str | None, amount: int = 5000, **more: Any) -> str:
        """A price at Stripe of a product that names ours, or whatever else."""
        named = product.id if isinstance(product, Product) else product
        metadata = {"luneo_product_id": str(named)} if named else {}
        made = await self.stripe.call("products.create", name="Bag by link", metadata=metadata)
        price = {"product": made["id"], "currency": "eur", "unit_amount": amount, **more}
        return str((await self.stripe.call("prices.create", **price))["id"])

    async def link(self, *prices: tuple[str, int], **more: Any) -> dict[str, Any]:
        items = [{"price": price, "quantity": quantity} for price, quantity in prices]
        metadata = {"organization_id": str(self.alice.organization_id), "campaign": "spring"}
        return await self.stripe.call(
            "payment_links.create", **{"line_items": items, "metadata": metadata, **more}
        )

    async def buy(self, link: dict[str, Any], outcome: str = "card", **opened: str) -> dict[str, Any]:
        """What a buyer does; the session."""
        session = await control(self.stripe, f"payment_links/{link['id']}/open", **opened)
        await control(self.stripe, f"sessions/{session['id']}/complete", outcome=outcome)
        return await self.stripe.object(session["id"])

    async def settle(self, **how: Any) -> None:
        await settle(self.client, self.stripe, self.database, **how)

    async def orders(self) -> list[dict[str, Any]]:
        page = await self.client.get("/api/orders", headers=self.alice.headers)
        return [await self.read(item) for item in page.json()["items"]]

    async def read(self, order: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.get(f"/api/orders/{order['id']}", headers=self.alice.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stock(self, product: Product) -> tuple[int, int]:
        await self.db.refresh(product)
        return product.stock, product.reserved

    async def ledger(self) -> list[tuple[str, int, str]]:
        columns = (RevenueEntry.entry_type, RevenueEntry.amount, RevenueEntry.currency)
        rows = (await self.db.execute(select(*columns).order_by(RevenueEntry.id))).all()
        return [(row[0], row[1], row[2]) for row in rows]

    async def told(self, kind: str) -> int:
        statement = select(func.count()).select_from(EventLog).where(EventLog.type == kind)
        return int(await self.db.scalar(statement) or 0)

    async def event(self, session: dict[str, Any]) -> StripeEvent:
        statement = select(StripeEvent).where(StripeEvent.object_id == session["id"])
        return (await self.db.execute(statement)).scalar_one()

    async def policy(self, **settings: Any) -> None:
        self.db.add(OrderSettings(organization_id=self.alice.organization_id, **settings))
        await self.db.commit()

    async def differences(self) -> list[StripeDifference]:
        found = await self.db.scalars(
            select(StripeDifference)
            .order_by(StripeDifference.first_seen_at)
            .execution_options(populate_existing=True)
        )
        return list(found)

    async def adds_up(self) -> None:
        assert (await report_money(self.db), await report_drift(self.db)) == (0, 0)


def forget_events(state: State) -> None:
    """Stripe keeps events for thirty days."""
    for name in [name for name, item in state.objects.items() if item["object"] == "event"]:
        del state.objects[name]


@pytest.fixture
def shop(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> LinkShop:
    return LinkShop(client, db, database, alice, stripe_sandbox)


async def test_link_when_it_is_paid_and_told_of_twenty_times(shop: LinkShop) -> None:
    bag = await make_product(shop.db, owner=shop.alice, sku="BAG-1", price=9900, stock=5)
    link = await shop.link((await shop.price(bag), 2), (await shop.price(None, 700), 1))
    session = await shop.buy(link, locale="fr")
    await shop.stripe.deliver(shop.client, "checkout.session.completed", times=20)
    await shop.settle(order="reverse", times=2)
    await shop.settle(again=True, order="shuffled")
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", None)
    assert (order["channel"], order["payment_method"], order["currency"]) == (
        "payment_link",
        "checkout",
        "EUR",
    )
    assert (order["subtotal"], order["tax_amount"], order["total_amount"]) == (10700, 0, 10700)
    assert (order["amount_paid"], order["prices_include_tax"]) == (10700, True)
    assert order["order_number"].endswith("-000001")
    assert (order["customer_email"], order["customer_name"]) == (BUYER, "Camille Martin")
    assert order["billing_address"]["country"] == "FR"
    assert order["stripe_checkout_session_id"] == session["id"]
    assert order["metadata"] == {"campaign": "spring", "payment_link": link["id"], "locale": "fr"}
    first, second = order["order_items"]
    assert (first["product_id"], first["sku"], first["quantity"], first["unit_price"]) == (
        str(bag.id),
        "BAG-1",
        2,
        5000,
    )
    assert (second["product_id"], second["sku"], second["name"]) == (None, None, "Bag by link")
    assert await shop.stock(bag) == (3, 0)
    assert [entry for entry in await shop.ledger() if entry[0] != "fee"] == [("charge", 10700, "EUR")]
    assert [entry[0] for entry in await shop.ledger()].count("fee") == 1
    assert [await shop.told(f"order.{name}") for name in ("created", "paid")] == [1, 1]
    assert order["history"][-1]["actor_type"] == "stripe"
    assert order["history"][0]["stripe_event_id"].startswith("evt_")
    await shop.adds_up()


async def test_invoice_when_a_link_is_paid(shop: LinkShop) -> None:
    price = await shop.price(None, 1250, tax_behavior="exclusive")
    await shop.buy(await shop.link((price, 3), automatic_tax={"enabled": True}))
    await shop.settle()
    (order,) = await shop.orders()
    assert (order["prices_include_tax"], order["subtotal"], order["tax_amount"]) == (False, 3750, 750)
    assert (order["total_amount"], order["order_items"][0]["tax_rate_bps"]) == (4500, 2000)
    invoice = (await shop.db.execute(select(Invoice))).scalar_one()
    assert (invoice.kind, invoice.status, invoice.subtotal, invoice.tax, invoice.amount) == (
        "order",
        "paid",
        3750,
        750,
        4500,
    )
    assert invoice.tax_groups == [
        {"rate_bps": 2000, "net_amount": 3750, "tax_amount": 750, "gross_amount": 4500}
    ]
    explained = await shop.client.get(f"/api/orders/{order['id']}/explain", headers=shop.alice.headers)
    assert explained.json()["is_consistent"] is True
    found = await shop.client.get("/api/orders", headers=shop.alice.headers, params={"q": "camille"})
    assert len(found.json()["items"]) == 1
    pdf = await shop.client.get(f"/api/orders/{order['id']}/invoice.pdf", headers=shop.alice.headers)
    assert (pdf.status_code, pdf.content[:5]) == (200, b"%PDF-")
    mail = (await shop.db.execute(select(Email.template_key, Email.locale))).one()
    assert tuple(mail) == ("order_confirmation", "fr")


async def test_link_when_its_products_are_none_of_ours(shop: LinkShop, charlie: Persona) -> None:
    """No name, no id, an unknown one, another shop's, one that was deleted: lines without a product."""
    gone = await make_product(shop.db, owner=shop.alice, stock=5, deleted_at=datetime.now(UTC))
    theirs = await make_product(shop.db, owner=charlie, stock=5)
    prices = [await shop.price(named) for named in (None, "bag", str(uuid4()), theirs, gone)]
    await shop.buy(await shop.link(*((price, 1) for price in prices)))
    await shop.settle()
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", None)
    assert [item["product_id"] for item in order["order_items"]] == [None] * 5
    assert (await shop.stock(gone), await shop.stock(theirs)) == ((5, 0), (5, 0))
    await act(shop.client, shop.alice, order, "ship")
    await act(shop.client, shop.alice, order, "deliver")
    lines = [{"item_id": item["id"], "quantity": 1} for item in order["order_items"]]
    body = {"lines": lines, "reason": "returned", "returned": True, "restock": True}
    await act(shop.client, shop.alice, order, "refunds", 201, **body)
    await shop.settle()
    assert states(await shop.read(order)) == ("returned", "refunded", None)
    await shop.adds_up()


async def test_link_when_its_product_is_not_counted_or_not_for_sale(shop: LinkShop) -> None:
    """The money is there: what is on the shelf goes out, whether or not the shop still shows it."""
    free = await make_product(shop.db, owner=shop.alice, track_inventory=False)
    hidden = await make_product(shop.db, owner=shop.alice, status="archived", stock=5)
    await shop.buy(await shop.link((await shop.price(free), 3), (await shop.price(hidden), 2)))
    await shop.settle()
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", None)
    assert [item["product_id"] for item in order["order_items"]] == [str(free.id), str(hidden.id)]
    assert (await shop.stock(hidden), (await shop.stock(free))[1]) == ((3, 0), 0)
    await shop.adds_up()


async def test_link_when_stock_is_short_and_money_goes_back(shop: LinkShop) -> None:
    """Rule 7: the order stays expired, and nothing of it was taken from the shelf."""
    bag = await make_product(shop.db, owner=shop.alice, stock=1)
    other = await make_product(shop.db, owner=shop.alice, stock=9)
    await shop.buy(await shop.link((await shop.price(bag), 2), (await shop.price(other), 2)))
    await shop.settle(times=3)
    (order,) = await shop.orders()
    assert states(order) == ("expired", "refunded", None)
    assert [refund["reason"] for refund in order["refunds"]] == ["oversold"]
    assert (await shop.stock(bag), await shop.stock(other)) == ((1, 0), (9, 0))
    assert sum(entry[1] for entry in await shop.ledger() if entry[0] in {"charge", "refund"}) == 0
    assert await shop.db.scalar(select(func.count()).select_from(Invoice)) == 0
    assert await shop.told("order.oversold") == 1
    await shop.adds_up()


async def test_link_when_stock_is_short_and_the_buyer_waits(shop: LinkShop) -> None:
    """Rule 8: confirmed and held, and released once there is stock."""
    await shop.policy(oversold_policy="backorder")
    bag = await make_product(shop.db, owner=shop.alice, stock=1)
    await shop.buy(await shop.link((await shop.price(bag), 2)))
    await shop.settle(times=2)
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", "oversold")
    assert await shop.stock(bag) == (1, 0)
    await act(shop.client, shop.alice, order, "release-hold", 409, reason="try")
    await shop.db.execute(update(Product).where(Product.id == bag.id).values(stock=5))
    await shop.db.commit()
    await act(shop.client, shop.alice, order, "release-hold", reason="restocked")
    assert await shop.stock(bag) == (3, 0)
    await shop.adds_up()


@pytest.mark.parametrize("outcome", ["sepa", "sepa_fails"])
async def test_link_when_the_money_takes_days(shop: LinkShop, outcome: str) -> None:
    """The stock is held as soon as the buyer has agreed, and given back when the debit fails."""
    bag = await make_product(shop.db, owner=shop.alice, stock=5)
    await shop.buy(await shop.link((await shop.price(bag), 2)), outcome)
    await shop.settle(times=2)
    (order,) = await shop.orders()
    assert (states(order), order["reservation_expires_at"]) == (("pending", "pending", None), None)
    assert await shop.stock(bag) == (5, 2)
    assert await shop.ledger() == []
    await control(shop.stripe, "clock", advance="P6D")
    await shop.settle(order="shuffled", times=2)
    (order,) = await shop.orders()
    if outcome == "sepa":
        assert states(order) == ("confirmed", "paid", None)
        assert await shop.stock(bag) == (3, 0)
    else:
        assert states(order) == ("pending", "failed", None)
        assert order["reservation_expires_at"] is not None
        await act(shop.client, shop.alice, order, "cancel", reason="not paid")
        assert await shop.stock(bag) == (5, 0)
    await shop.adds_up()


async def test_link_when_a_failed_debit_is_not_made_up_for(shop: LinkShop) -> None:
    """The order expires like any other: Stripe is asked first, and the stock goes back."""
    bag = await make_product(shop.db, owner=shop.alice, stock=5)
    await shop.buy(await shop.link((await shop.price(bag), 2)), "sepa_fails")
    await control(shop.stripe, "clock", advance="P6D")
    await shop.settle(order="reverse")
    (order,) = await shop.orders()
    assert states(await act(shop.client, shop.alice, order, "checkout/sync")) == ("pending", "failed", None)
    past = clock.now() - timedelta(minutes=1)
    await shop.db.execute(update(Order).values(reservation_expires_at=past))
    await shop.db.commit()
    owner = str(shop.alice.organization_id)
    await expire_order(shop.database, organization_id=owner, order_id=order["id"])
    assert states(await shop.read(order)) == ("expired", "failed", None)
    assert await shop.stock(bag) == (5, 0)
    await shop.adds_up()


TOLD: dict[str, Any] = {
    "customer_details": {
        "email": "Zoë@shop.example",
        "name": "Z" * 300,
        "phone": "+33 6 12 34 56 78",
        "address": {"country": "be", "city": None, "line1": None, "postal_code": "1000", "state": None},
    },
    "collected_information": {
        "shipping_details": {
            "name": "Anna Martin",
            "address": {
                "country": "FR",
                "city": "Paris",
                "line1": "12 rue des Lilas",
                "line2": None,
                "postal_code": "75011",
                "state": None,
            },
        }
    },
    "custom_fields": [
        {"key": "a", "type": "text", "label": {"custom": "Engraving"}, "text": {"value": "For\x00 Anna"}},
        {
            "key": "b",
            "type": "dropdown",
            "label": {"custom": "Card"},
            "dropdown": {"value": "4242424242424242"},
        },
        {"key": "c", "type": "numeric", "label": {"custom": "Floor"}, "numeric": {"value": None}},
    ],
}


async def test_buyer_when_the_page_asked_for_more(shop: LinkShop) -> None:
    """Addresses and fields of the page; what no order has room for is cut, and no card number is kept."""
    session = await shop.buy(await shop.link((await shop.price(None), 1)))
    await shop.stripe.sandbox.change(lambda state: state.objects[session["id"]].update(TOLD))
    await shop.settle()
    (order,) = await shop.orders()
    assert (order["customer_email"], order["customer_phone"]) == (None, "+33 6 12 34 56 78")
    assert order["customer_name"] == "Z" * 200
    assert (order["billing_address"]["country"], order["billing_address"]["postal_code"]) == ("BE", "1000")
    shipping = order["shipping_address"]
    assert (shipping["name"], shipping["line1"], shipping["country"]) == (
        "Anna Martin",
        "12 rue des Lilas",
        "FR",
    )
    assert order["notes"] == "Engraving: For Anna\nCard: [redacted]"
    assert await shop.db.scalar(select(func.count()).select_from(Email)) == 0


async def test_link_when_its_order_is_paid_on_another_page(shop: LinkShop) -> None:
    """The order gets a page of its own after a failed debit; the link's session is told of again."""
    await shop.buy(await shop.link((await shop.price(None), 1)), "sepa_fails")
    await shop.settle()
    await control(shop.stripe, "clock", advance="P6D")
    await shop.settle()
    (order,) = await shop.orders()
    paths = {"success_path": "/thanks", "cancel_path": "/basket"}
    page = await act(shop.client, shop.alice, order, "checkout", 201, **paths)
    await control(shop.stripe, f"sessions/{page['session_id']}/complete", outcome="card")
    await shop.settle()
    session = await shop.stripe.object(order["stripe_checkout_session_id"])
    again = event_of("checkout.session.completed", {name: session[name] for name in ("id", "object")})
    await shop.stripe.send(shop.client, again)
    await shop.settle(again=True)
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", None)
    assert len(order["payments"]) == 1


async def test_link_when_money_goes_back_before_it_is_told_of(shop: LinkShop) -> None:
    """Every delivery in the wrong order: the refund is known before the order is."""
    session = await shop.buy(await shop.link((await shop.price(None), 1)))
    await shop.stripe.call("refunds.create", payment_intent=session["payment_intent"], amount=2000)
    await shop.settle(order="reverse", times=2)
    await shop.settle(again=True, order="shuffled")
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "partially_refunded", None)
    assert sorted(entry[:2] for entry in await shop.ledger() if entry[0] != "fee") == [
        ("charge", 5000),
        ("refund", -2000),
    ]
    await shop.adds_up()


async def test_link_when_it_captures_later(shop: LinkShop) -> None:
    link = await shop.link((await shop.price(None), 1), payment_intent_data={"capture_method": "manual"})
    await shop.buy(link)
    await shop.settle(times=2)
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "authorized", None)
    captured = await act(shop.client, shop.alice, order, "capture")
    assert captured["payment_status"] == "paid"
    await shop.settle()
    await shop.adds_up()


async def test_link_when_nothing_is_left_to_pay(shop: LinkShop) -> None:
    bag = await make_product(shop.db, owner=shop.alice, stock=5)
    await shop.buy(await shop.link((await shop.price(bag, 0), 2)))
    await shop.settle(times=3)
    (order,) = await shop.orders()
    assert (states(order), order["payment_method"]) == (("confirmed", "paid", None), "none")
    assert (await shop.stock(bag), await shop.ledger()) == ((3, 0), [])
    assert await shop.db.scalar(select(func.count()).select_from(Invoice)) == 1
    await shop.adds_up()


@pytest.mark.parametrize("policy", ["refund", "backorder"])
async def test_link_when_nothing_is_to_pay_and_stock_is_short(shop: LinkShop, policy: str) -> None:
    await shop.policy(oversold_policy=policy)
    bag = await make_product(shop.db, owner=shop.alice, stock=1)
    await shop.buy(await shop.link((await shop.price(bag, 0), 2)))
    await shop.settle(times=2)
    await shop.settle(again=True)
    (order,) = await shop.orders()
    held = ("confirmed", "paid", "oversold")
    assert states(order) == (held if policy == "backorder" else ("expired", "unpaid", None))
    assert (await shop.stock(bag), await shop.told("order.oversold")) == ((1, 0), 1)
    await shop.adds_up()


async def test_link_when_it_names_another_organisation_than_its_customer(
    shop: LinkShop, charlie: Persona
) -> None:
    """Whose the customer is decides: nothing is made for either of them."""
    session = await shop.buy(await shop.link((await shop.price(None), 1), customer_creation="always"))
    await shop.settle()
    link = await shop.link(
        (await shop.price(None), 1), metadata={"organization_id": str(charlie.organization_id)}
    )
    opened = await control(shop.stripe, f"payment_links/{link['id']}/open")
    await shop.stripe.sandbox.change(
        lambda state: state.objects[opened["id"]].update(customer=session["customer"])
    )
    await control(shop.stripe, f"sessions/{opened['id']}/complete", outcome="card")
    await shop.stripe.deliver(shop.client)
    await shop.settle(again=True)
    event = await shop.event(opened)
    assert (event.status, "customer_conflict" in str(event.last_error)) == ("dead", True)
    assert len(await shop.orders()) == 1
    mine = select(func.count()).select_from(Order).where(Order.organization_id == charlie.organization_id)
    assert await shop.db.scalar(mine) == 0


async def test_link_when_it_names_nobody(shop: LinkShop) -> None:
    """The account may serve others too: what does not name an organisation is not ours."""
    await shop.buy(await shop.link((await shop.price(None), 1), metadata={}))
    await shop.stripe.deliver(shop.client)
    assert await shop.orders() == []
    unknown = await shop.link((await shop.price(None), 1), metadata={"organization_id": str(uuid4())})
    await shop.buy(unknown)
    await shop.stripe.deliver(shop.client)
    assert await shop.orders() == []


async def test_link_when_its_lines_fit_into_no_order(shop: LinkShop) -> None:
    """A person has to look: the event is dead, and told of to the operators."""
    session = await shop.buy(await shop.link((await shop.price(None, 1), 100_001)))
    await shop.settle()
    event = await shop.event(session)
    assert (event.status, "quantity_out_of_range" in str(event.last_error)) == ("dead", True)
    assert (await shop.orders(), await shop.told("stripe.event_dead")) == ([], 1)


async def test_page_when_it_is_no_links_and_no_orders(shop: LinkShop) -> None:
    """A session that somebody made for the organisation by hand becomes an order, too."""
    price = {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Tip"}}
    session = await shop.stripe.call(
        "checkout.sessions.create",
        mode="payment",
        success_url="https://shop.luneo.test/thanks",
        metadata={"organization_id": str(shop.alice.organization_id)},
        line_items=[{"quantity": 1, "price_data": price}],
    )
    await control(shop.stripe, f"sessions/{session['id']}/complete", outcome="card")
    await shop.settle()
    (order,) = await shop.orders()
    assert (states(order), order["currency"], order["metadata"]) == (("confirmed", "paid", None), "USD", {})
    assert ("charge", 500, "USD") in await shop.ledger()


async def test_session_when_nobody_pays(shop: LinkShop) -> None:
    link = await shop.link((await shop.price(None), 1))
    session = await control(shop.stripe, f"payment_links/{link['id']}/open")
    await control(shop.stripe, f"sessions/{session['id']}/expire")
    await shop.settle()
    assert await shop.orders() == []


async def test_locks_when_an_order_of_a_link_is_placed(shop: LinkShop, statements: Recorder) -> None:
    """The quota before the counter of numbers, as by everybody, so that no two orders wait for each other."""
    await shop.buy(await shop.link((await shop.price(None), 1)))
    with statements() as seen:
        await shop.settle()
    quota, counter = (
        next(place for place, one in enumerate(seen) if f"INSERT INTO {table}" in one)
        for table in ("usage_metrics", "document_counters")
    )
    assert quota < counter


async def test_link_when_the_plans_quota_is_used_up(shop: LinkShop) -> None:
    """What is paid is counted and never refused; numbers come from the one series."""
    bag = await make_product(shop.db, owner=shop.alice, stock=9)
    await place_order(shop.client, shop.alice, bag)
    await count(shop.db, shop.alice.organization_id, "orders", 19, "before")
    await shop.db.commit()
    await shop.buy(await shop.link((await shop.price(bag), 1)))
    await shop.settle()
    numbers = sorted(order["order_number"][-6:] for order in await shop.orders())
    assert numbers == ["000001", "000002"]
    refused = await shop.client.post("/api/orders", headers=shop.alice.headers, json=order_body((bag, 1)))
    assert (refused.status_code, refused.json()["used"]) == (402, 21)


@pytest.mark.commits
async def test_link_when_many_workers_hear_of_it_at_once(shop: LinkShop) -> None:
    """Twenty deliveries on real connections, and several events of the same session: one order."""
    bag = await make_product(shop.db, owner=shop.alice, stock=5)
    session = await shop.buy(await shop.link((await shop.price(bag), 2)))
    (event,) = await shop.stripe.events("checkout.session.completed")
    answers = await asyncio.gather(*(shop.stripe.send(shop.client, event) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    again = [event_of(event["type"], {"id": session["id"], "object": "checkout.session"}) for _ in range(3)]
    for one in again:
        await shop.stripe.send(shop.client, one)
    ids = [event["id"], *(one["id"] for one in again)]
    await asyncio.gather(*(process_event(shop.database, identifier) for identifier in ids * 2))
    await shop.settle()
    (order,) = await shop.orders()
    assert states(order) == ("confirmed", "paid", None)
    assert await shop.stock(bag) == (3, 0)
    assert [entry for entry in await shop.ledger() if entry[0] != "fee"] == [("charge", 10000, "EUR")]
    assert [await shop.told(f"order.{name}") for name in ("created", "paid")] == [1, 1]
    await shop.adds_up()


def test_order_id_when_sessions_are_many() -> None:
    """Ids are UUIDv7 of the session's second, alike for the same session and for no two others."""
    moment = 1_763_656_140
    ids = {link_order_id({"id": f"cs_{number}", "created": moment}) for number in range(500)}
    assert len(ids) == 500
    one = random.Random(7).choice(sorted(ids))
    assert (one.version, one.variant) == (7, "specified in RFC 4122")
    assert one.int >> 80 == moment * 1000
    assert link_order_id({"id": "cs_1", "created": moment}) == link_order_id(
        {"id": "cs_1", "created": moment}
    )


async def test_sale_when_no_event_of_it_came(shop: LinkShop) -> None:
    """The order is missed even when Stripe lists no event of it any more."""
    bag = await make_product(shop.db, owner=shop.alice, price=9900, stock=5)
    session = await shop.buy(await shop.link((await shop.price(bag), 1)))
    await shop.buy(await shop.link((await shop.price(None), 1), metadata={"organization_id": str(uuid4())}))
    await shop.stripe.sandbox.change(forget_events)
    await reconcile(shop.database)
    assert await shop.differences() == []
    with clock.travel(timedelta(hours=1)):
        for _ in range(2):
            await reconcile(shop.database)
        (found,) = await shop.differences()
        assert (found.kind, found.stripe_id, found.status) == ("orphan_payment", session["id"], "open")
        assert found.organization_id == shop.alice.organization_id
        assert found.local_ref == str(link_order_id(session))
        await repair_difference(shop.database, found.id, "test")
        order = (await shop.db.scalars(select(Order))).one()
        assert (order.status, order.payment_status) == ("confirmed", "paid")
        await reconcile(shop.database)
        assert [row.status for row in await shop.differences()] == ["repaired"]
        # From here on the payment is compared like any other, though its intent names no order.
        await shop.db.execute(update(OrderPayment).values(amount=OrderPayment.amount - 1))
        await shop.db.commit()
        await reconcile(shop.database)
        (drifted,) = [row for row in await shop.differences() if row.status == "open"]
        assert (drifted.kind, drifted.stripe_id) == ("amount_drift", session["payment_intent"])


@pytest.mark.parametrize(
    ("status", "is_placed", "is_paid", "count"),
    [
        ("succeeded", True, True, 0),
        ("succeeded", True, False, 1),
        ("requires_capture", True, False, 1),
        ("processing", True, False, 0),
        ("processing", False, False, 1),
        (None, True, False, 0),
        (None, False, False, 1),
    ],
)
def test_sale_when_it_differs(status: str | None, is_placed: bool, is_paid: bool, count: int) -> None:
    intent = None if status is None else {"id": "pi_1", "status": status}
    found = {
        "id": "cs_1",
        "payment_intent": intent,
        "payment_status": "paid",
        "amount_total": 500,
        "currency": "eur",
    }
    differences = sale_differences(found, uuid4(), uuid4(), is_placed=is_placed, is_paid=is_paid)
    assert [item.repair for item in differences] == ["checkout.session.completed"] * count
