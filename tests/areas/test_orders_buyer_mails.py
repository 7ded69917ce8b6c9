"""Mails to buyers: of what, to whom, in which language, once per event, and to nobody who was erased."""

import html
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core.database import Database, SystemSession
from app.jobs.handlers import handle_event
from app.models.notifications import Email
from app.models.orders import Order, OrderSettings
from app.models.realtime import EventHandling
from app.models.team import Organization
from tests.factories.orders import ADDRESS, CUSTOMER, order_body, place_order
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_orders import act, control, pay, pay_other, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox

ANNA = "Anna@Example.test"
SHIPMENT: dict[str, Any] = {
    "carrier": "Colissimo",
    "tracking_number": "6A1",
    "tracking_url": "https://track.example/6A1?a=1&b=2",
}
CARD: dict[str, Any] = {"method": "bank_transfer", "amount": 2000}


async def mails(client: AsyncClient, database: Database, to: str = ANNA) -> list[dict[str, Any]]:
    """What was mailed, the oldest first."""
    await handle_events(database)
    found: list[dict[str, Any]] = (await client.get("/sandbox/mail.json", params={"to": to})).json()["items"]
    return found[::-1]


async def bag_order(client: AsyncClient, db: SystemSession, alice: Persona, **body: Any) -> dict[str, Any]:
    bag = await make_product(db, owner=alice, name="Bag <big>", price=1000)
    return await place_order(client, alice, bag, 2, **body)


async def test_mails_when_an_order_goes_all_its_way(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    order = await bag_order(client, db, alice)
    assert await mails(client, database) == []
    await act(client, alice, order, "mark-paid", **CARD)
    await act(client, alice, order, "ship", **SHIPMENT)
    await act(client, alice, order, "deliver")
    refund: dict[str, Any] = {"amount": 1250, "reason": "goodwill", "reference": "transfer 7"}
    await act(client, alice, order, "refunds", 201, **refund)
    found = await mails(client, database)
    assert [mail["template"] for mail in found] == [
        "order_confirmation",
        "order_shipped",
        "order_delivered",
        "order_refunded",
    ]
    confirmed, shipped, delivered, refunded = found
    number = order["order_number"]
    assert [mail["subject"] for mail in found] == [
        f"Votre commande {number} est confirmée",
        f"Votre commande {number} est expédiée",
        f"Votre commande {number} est livrée",
        f"Remboursement de votre commande {number}",
    ]
    assert "Bonjour Anna Martin" in confirmed["text"]
    assert "2 × Bag <big>" in confirmed["text"]
    assert "Bag &lt;big&gt;" in confirmed["html"]
    assert "Total : 20,00\u00a0EUR" in confirmed["text"]
    assert "Colissimo" in shipped["text"]
    assert SHIPMENT["tracking_url"] in html.unescape(shipped["html"])
    assert "12,50\u00a0EUR" in refunded["text"]
    link = delivered["links"][-1]
    assert link.startswith("http://app.luneo.test/orders/track#token=")
    answer = await client.get(f"/api/public/orders/{link.partition('token=')[2]}")
    assert (answer.status_code, answer.json()["order_number"]) == (200, number)
    rows = (await db.execute(select(Email.category, Email.organization_id, Email.user_id))).all()
    assert {tuple(row) for row in rows} == {("order_customer", alice.organization_id, None)}


GERMAN = {**ADDRESS, "country": "DE"}


@pytest.mark.parametrize(
    ("body", "seller", "locale"),
    [
        ({}, {}, "fr"),
        ({"shipping_address": GERMAN}, {}, "en"),
        ({"shipping_address": GERMAN, "metadata": {"locale": "fr-CA"}}, {}, "fr"),
        ({"metadata": {"locale": "de"}}, {}, "en"),
        ({"metadata": {"locale": 7}}, {}, "fr"),
        ({"shipping_address": None, "billing_address": ADDRESS}, {"country": "DE"}, "fr"),
        ({"shipping_address": None}, {"country": "FR"}, "fr"),
        ({"shipping_address": None}, {"country": "DE"}, "en"),
        ({"shipping_address": None}, {}, "en"),
    ],
)
async def test_language_when_the_order_or_the_seller_names_one(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    body: dict[str, Any],
    seller: dict[str, str],
    locale: str,
) -> None:
    order = await bag_order(client, db, alice, **body)
    await db.execute(update(OrderSettings).values(seller=seller))
    await act(client, alice, order, "mark-paid", **CARD)
    (mail,) = await mails(client, database)
    assert mail["locale"] == locale
    assert mail["text"].startswith("Bonjour" if locale == "fr" else "Hello")


async def test_mail_when_its_event_is_handled_again(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    order = await bag_order(client, db, alice)
    await act(client, alice, order, "mark-paid", **CARD)
    assert len(await mails(client, database)) == 1
    handled = (await db.scalars(select(EventHandling).where(EventHandling.handler == "mail"))).all()
    assert len(handled) == 1
    for row in handled:
        await db.delete(row)
    await db.commit()
    await handle_event(database, handled[0].event_id)
    assert len(await mails(client, database)) == 1


async def test_mail_when_the_order_has_no_buyer_any_more(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """The erasure comes between the event and its mail, and while another mail waits to be sent."""
    order = await bag_order(client, db, alice)
    await act(client, alice, order, "mark-paid", **CARD)
    await mails(client, database)
    await db.execute(update(Email).values(status="queued"))
    await act(client, alice, order, "ship")
    await act(client, alice, order, "deliver")
    answer = await client.post(
        "/api/orders/customers/erase", headers=alice.headers, json={"email": CUSTOMER["email"]}
    )
    assert answer.json() == {"orders_count": 1}
    assert await db.scalar(select(func.count()).select_from(Email)) == 0
    found = await mails(client, database)
    assert [mail["template"] for mail in found] == ["order_confirmation"]
    assert await db.scalar(select(func.count()).select_from(Email)) == 0


async def test_mails_when_another_shop_erases_the_same_buyer(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    order = await bag_order(client, db, alice)
    await act(client, alice, order, "mark-paid", **CARD)
    await mails(client, database)
    theirs = await bag_order(client, db, charlie)
    await act(client, charlie, theirs, "cancel")
    erase = {"email": CUSTOMER["email"]}
    await client.post("/api/orders/customers/erase", headers=charlie.headers, json=erase)
    assert await db.scalar(select(func.count()).select_from(Email)) == 1


async def test_mails_when_the_buyer_asked_for_a_link_before_the_erasure(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    order = await bag_order(client, db, alice)
    shop = await db.get_one(Organization, alice.organization_id)
    asked = {"organization": shop.slug, "email": CUSTOMER["email"], "order_number": order["order_number"]}
    assert (await client.post("/api/public/orders/track", json=asked)).status_code == 202
    assert [mail["template"] for mail in await mails(client, database)] == ["order_track_link"]
    await act(client, alice, order, "cancel")
    erase = {"email": CUSTOMER["email"]}
    await client.post("/api/orders/customers/erase", headers=alice.headers, json=erase)
    assert await db.scalar(select(func.count()).select_from(Email)) == 0


async def test_confirmation_when_the_order_was_cancelled_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    order = await bag_order(client, db, alice)
    await act(client, alice, order, "mark-paid", **CARD)
    await act(client, alice, order, "cancel", reason="sold out", refund="none")
    assert await mails(client, database) == []


async def test_mails_when_the_order_costs_nothing(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    gift = await make_product(db, owner=alice, price=0)
    await place_order(client, alice, gift)
    assert [mail["template"] for mail in await mails(client, database)] == ["order_confirmation"]


async def test_placing_when_mails_follow(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """No mail is queued by the request itself."""
    gift = await make_product(db, owner=alice, price=0)
    answer = await client.post("/api/orders", headers=alice.headers, json=order_body((gift, 1)))
    assert answer.status_code == 201
    assert await db.scalar(select(func.count()).select_from(Email)) == 0


async def test_mail_when_a_payment_needs_the_banks_consent(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """3-D Secure: the buyer is told once, with the page to go on with, and not after having paid."""
    product = await make_product(db, owner=alice, price=5000)
    order = {**await place(client, alice, product), "organization": alice.organization_id}
    intent = await pay_other(stripe_sandbox, order, 5000, payment_method="pm_card_authenticationRequired")
    assert intent["status"] == "requires_action"
    await settle(client, stripe_sandbox, database, times=2)
    told = await read(client, alice, order)
    assert (states(told), told["payment_failure_code"]) == (
        ("pending", "unpaid", None),
        "authentication_required",
    )
    await stripe_sandbox.deliver(client, again=True)
    (mail,) = await mails(client, database)
    assert mail["template"] == "order_action_required"
    assert order["checkout_url"] in mail["links"]
    await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert (told["payment_status"], told["payment_failure_code"]) == ("paid", None)
    await stripe_sandbox.deliver(client, again=True)
    assert [mail["template"] for mail in await mails(client, database)] == [
        "order_action_required",
        "order_confirmation",
    ]


async def test_mail_when_a_debit_fails_after_days(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice, price=5000)
    order = await place(client, alice, product)
    await pay(stripe_sandbox, order, "sepa_fails")
    await settle(client, stripe_sandbox, database)
    assert await mails(client, database) == []
    await control(stripe_sandbox, "clock", advance="P6D")
    await settle(client, stripe_sandbox, database, times=2)
    assert (await read(client, alice, order))["payment_status"] == "failed"
    (mail,) = await mails(client, database)
    assert mail["template"] == "order_payment_failed"
    assert "50,00\u00a0EUR" in mail["text"]


async def test_mail_when_a_card_is_declined_on_the_open_page(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """The page has told the buyer already."""
    product = await make_product(db, owner=alice, price=5000)
    order = await place(client, alice, product)
    await pay(stripe_sandbox, order, "card_declined")
    await settle(client, stripe_sandbox, database)
    assert (await read(client, alice, order))["payment_status"] == "failed"
    assert await mails(client, database) == []


async def test_mail_when_money_of_a_late_payment_goes_back(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """Stripe refunds: told when the money has gone, not when it is asked for."""
    product = await make_product(db, owner=alice, price=5000)
    order = await place(client, alice, product)
    await pay(stripe_sandbox, order)
    await act(client, alice, order, "cancel", reason="out of business")
    await settle(client, stripe_sandbox, database)
    found = await mails(client, database)
    assert [mail["template"] for mail in found] == ["order_refunded"]
    assert await db.scalar(select(Order.amount_refunded)) == 5000
