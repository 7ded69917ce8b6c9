"""Buyers without an account: asking for the link to an order, the mail, and the order behind the link."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_token, key_ring, sign_facts
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.core.limits import Limiter
from app.models.notifications import Email
from app.models.orders import Order
from app.models.team import Organization
from app.services.orders.track_links import TRACK_USE, TrackLink
from tests.factories.orders import make_order, place_order
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona

PATH = "/api/public/orders/track"
ANNA = "anna@example.test"


async def slug_of(db: SystemSession, persona: Persona) -> str:
    return (await db.get_one(Organization, persona.organization_id)).slug


async def ask(
    client: AsyncClient,
    db: SystemSession,
    persona: Persona,
    order_number: Any,
    email: str = ANNA,
    **headers: str,
) -> None:
    body = {"organization": await slug_of(db, persona), "order_number": order_number, "email": email}
    answer = await client.post(PATH, json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"status": "link_sent_if_known"})


async def mails(client: AsyncClient, database: Database, to: str = ANNA) -> list[dict[str, Any]]:
    """The mails with a link that was asked for."""
    await handle_events(database)
    found: list[dict[str, Any]] = (await client.get("/sandbox/mail.json", params={"to": to})).json()["items"]
    return [mail for mail in found if mail["template"] == "order_track_link"]


def token_of(mail: dict[str, Any]) -> str:
    link = str(mail["links"][0])
    assert link.startswith("http://app.luneo.test/orders/track#token=luneo_ot_")
    return link.partition("token=")[2]


def link_to(order: Order, email: str = ANNA, **life: float) -> str:
    """A token as the mail would carry it."""
    expires_at = clock.now() + timedelta(**(life or {"hours": 168}))
    facts = TrackLink.to(order.organization_id, order.id, email, expires_at).facts
    return sign_facts(key_ring(), EMAIL_TOKEN_PREFIX, TRACK_USE, facts)


async def test_link_when_a_buyer_asks_and_follows_it(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, name="Bag", sku="BAG-01", price=1000)
    order = await place_order(client, alice, bag, 2, notes="Private", internal_notes="Secret")
    shipment = {"carrier": "Colissimo", "tracking_number": "6A1"}
    await client.post(
        f"/api/orders/{order['id']}/mark-paid", headers=alice.headers, json={"method": "cash", "amount": 2000}
    )
    await client.post(f"/api/orders/{order['id']}/ship", headers=alice.headers, json=shipment)
    await ask(client, db, alice, f" {order['order_number'].lower()} ", "ANNA@example.test")
    (mail,) = await mails(client, database, "Anna@Example.test")
    assert mail["subject"] == f"Suivre votre commande {order['order_number']}"
    assert (mail["template"], mail["locale"], mail["code"]) == ("order_track_link", "fr", None)
    answer = await client.get(f"/api/public/orders/{token_of(mail)}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["order_number"] == order["order_number"]
    assert (told["status"], told["payment_status"], told["total_amount"]) == ("shipped", "paid", 2000)
    assert (told["carrier"], told["tracking_number"]) == ("Colissimo", "6A1")
    (line,) = told["order_items"]
    assert (line["name"], line["sku"], line["quantity"], line["fulfilled_quantity"]) == (
        "Bag",
        "BAG-01",
        2,
        2,
    )
    assert told["shipped_at"].endswith("Z")
    private = {"Anna", "Martin", "example.test", "Lilas", "Private", "Secret", str(alice.organization_id)}
    assert [word for word in private if word.lower() in answer.text.lower()] == []
    again = await client.get(f"/api/public/orders/{token_of(mail)}")
    assert again.json() == told, "the link is good more than once"


@pytest.mark.parametrize(
    ("languages", "locale"),
    [("en-GB,en;q=0.9,fr;q=0.8", "en"), ("fr-CA", "fr"), ("de", "en"), ("", "fr"), ("x" * 5000, "en")],
)
async def test_mail_when_the_browser_names_languages(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, languages: str, locale: str
) -> None:
    order = await make_order(db, owner=alice)
    await ask(client, db, alice, order.order_number, **{"Accept-Language": languages})
    (mail,) = await mails(client, database)
    assert mail["locale"] == locale


async def test_request_when_nothing_fits(
    client: AsyncClient, db: SystemSession, database: Database, app: FastAPI, alice: Persona, charlie: Persona
) -> None:
    order = await make_order(db, owner=alice)
    number = order.order_number
    await ask(client, db, alice, number, "other@example.test")
    await ask(client, db, charlie, number)
    await ask(client, db, alice, "ORD-2026-999999")
    app.state.limiter = Limiter(None)
    await ask(client, db, alice, "' OR 1=1 --")
    body = {"organization": "nobody", "order_number": number, "email": ANNA}
    assert (await client.post(PATH, json=body)).status_code == 202
    await db.execute(update(Organization).values(deleted_at=clock.now()))
    await db.commit()
    await ask(client, db, alice, number)
    assert await mails(client, database) == []
    assert (await db.scalars(select(Email.id))).all() == []


async def test_request_when_its_work_is_compared(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    """Known and unknown orders take the same statements, so that the time tells nothing either."""
    order = await make_order(db, owner=alice)
    seen = []
    for number in (order.order_number, "ORD-2026-999999"):
        body = {"organization": await slug_of(db, alice), "order_number": number, "email": ANNA}
        with statements() as sent:
            await client.post(PATH, json=body)
        seen.append(sent)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2


async def test_event_when_a_link_was_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    await ask(client, db, alice, order.order_number)
    row = (
        await db.execute(
            select(
                EventOutbox.audience, EventOutbox.is_webhook, EventOutbox.organization_id, EventOutbox.body
            )
        )
    ).one()
    assert row[:3] == ("internal", False, alice.organization_id)
    assert ANNA not in row.body


async def test_buyer_when_the_order_was_erased_or_given_to_another(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    token = link_to(order)
    assert (await client.get(f"/api/public/orders/{token}")).status_code == 200
    await ask(client, db, alice, order.order_number)
    for email in ("bea@example.test", None):
        order.customer_email = order.customer_email_canonical = email
        await db.commit()
        answer = await client.get(f"/api/public/orders/{token}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert await mails(client, database) == [], "the buyer is gone before the mail is queued"


async def test_link_when_it_is_over(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    token = link_to(await make_order(db, owner=alice))
    with clock.travel(timedelta(hours=167, minutes=59)):
        assert (await client.get(f"/api/public/orders/{token}")).status_code == 200
    with clock.travel(timedelta(hours=168)):
        answer = await client.get(f"/api/public/orders/{token}")
    assert (answer.status_code, answer.json()["code"]) == (410, "token_expired")


async def test_link_when_it_was_not_made_here(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    order = await make_order(db, owner=alice)
    good = link_to(order)
    gone = Order(organization_id=alice.organization_id, id=uuid7())
    foreign = Order(organization_id=charlie.organization_id, id=order.id)
    facts = TrackLink.to(order.organization_id, order.id, ANNA, clock.now() + timedelta(days=1)).facts
    tokens = [
        "luneo_ot_",
        good[:-1],
        good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        good.replace("luneo_ot_", "luneo_ac_"),
        derive_token(key_ring(), EMAIL_TOKEN_PREFIX, TRACK_USE, order.id),
        sign_facts(key_ring(), EMAIL_TOKEN_PREFIX, "other-use", facts),
        link_to(gone),
        link_to(foreign),
        "é" * 50,
        "x" * 600,
    ]
    for token in tokens:
        answer = await client.get(f"/api/public/orders/{token}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), token


def test_link_when_it_is_read_back() -> None:
    moment = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
    link = TrackLink.to(uuid7(), uuid7(), ANNA, moment)
    assert TrackLink.read(sign_facts(key_ring(), EMAIL_TOKEN_PREFIX, TRACK_USE, link.facts)) == link
    assert link.is_for(ANNA)
    assert not link.is_for("bea@example.test")
    assert not link.is_for(None)


async def test_request_when_one_address_is_asked_for_too_often(
    client: AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten an hour for one e-mail address, whoever asks; five a minute from one place."""
    settings = get_settings()
    body = {"organization": "x", "order_number": "ORD-2026-000001", "email": ANNA}
    answers = [await client.post(PATH, json={**body, "email": email}) for email in (ANNA, ANNA.upper()) * 6]
    assert [answer.status_code for answer in answers] == [202] * 10 + [429] * 2
    other = await client.post(PATH, json={**body, "email": "bea@example.test"})
    assert other.status_code == 202
    app.state.limiter = Limiter(None)
    monkeypatch.setattr(settings, "limit_factor", 1)
    places = [await client.post(PATH, json={**body, "email": f"b{n}@example.test"}) for n in range(6)]
    assert [answer.status_code for answer in places] == [202] * 5 + [429]


REFUSED: list[dict[str, Any]] = [
    {},
    {"order_number": "x" * 65},
    {"order_number": ""},
    {"email": "nobody"},
    {"organization": "a\x00"},
    {"unknown": 1},
]


@pytest.mark.parametrize("change", REFUSED, ids=str)
async def test_request_when_the_body_is_not_valid(client: AsyncClient, change: dict[str, Any]) -> None:
    body = {"organization": "x", "order_number": "ORD-2026-000001", "email": ANNA, **change} if change else {}
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
