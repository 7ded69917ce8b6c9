"""Erasing a buyer: what leaves the orders, what stays, who may, and that strangers' orders are untouched."""

from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import Text, cast, func, select, update

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.auth import UserSession
from app.models.orders import DiscountRedemption, Order, OrderItem
from app.repositories.orders.erasing import CustomerRepository
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import ADDRESS, make_order, order_body
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

PATH = "/api/orders/customers/erase"
ANNA = "anna@example.test"

TEXT = {"code": "name", "label": "Name", "type": "text", "fonts": [{"code": "serif", "label": "Serif"}]}
SIZE = {"code": "size", "label": "Size", "type": "choice", "values": [{"code": "s", "label": "S"}]}


async def erase(client: AsyncClient, persona: Persona, email: str = ANNA) -> Response:
    return await client.post(PATH, headers=persona.headers, json={"email": email})


async def delivered(client: AsyncClient, db: SystemSession, alice: Persona) -> dict[str, Any]:
    """An order with everything that can name a person, closed."""
    code = await make_code(db, alice)
    bag = await make_product(
        db, owner=alice, name="Weekender bag", sku="BAG-01", price=1000, options=[TEXT, SIZE]
    )
    body = order_body(
        (bag, 1),
        discount_code=code.code,
        notes="For Anna",
        internal_notes="Calls a lot",
        billing_address=ADDRESS,
    )
    body["items"][0]["customization"] = {"name": {"text": "Anna", "font": "serif"}, "size": "s"}
    answer = await client.post("/api/orders", headers=alice.headers, json=body)
    assert answer.status_code == 201, answer.text
    order: dict[str, Any] = answer.json()
    path = f"/api/orders/{order['id']}"
    acts = {"mark-paid": {"method": "cash", "amount": order["total_amount"]}, "ship": {}, "deliver": {}}
    for act, sent in acts.items():
        assert (await client.post(f"{path}/{act}", headers=alice.headers, json=sent)).status_code == 200
    return order


async def test_order_when_its_buyer_is_erased(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await delivered(client, db, alice)
    answer = await erase(client, alice, "ANNA@Example.test")
    assert (answer.status_code, answer.json()) == (200, {"orders_count": 1})
    told = (await client.get(f"/api/orders/{order['id']}", headers=alice.headers)).json()
    for name in ("customer_email", "customer_name", "customer_phone", "notes", "internal_notes"):
        assert told[name] is None, name
    for name in ("shipping_address", "billing_address"):
        address = told[name]
        assert (address["name"], address["line1"], address["line2"], address["company"]) == (None,) * 4
        assert (address["postal_code"], address["city"], address["country"]) == ("75011", "Paris", "FR")
    (line,) = told["order_items"]
    assert line["customization"] == {"name": {"text": None, "font": "serif"}, "size": "s"}
    before = order["order_items"][0]
    assert line["customization_sha256"] == before["customization_sha256"] is not None
    assert (line["name"], line["sku"]) == ("Weekender bag", "BAG-01")
    assert told["total_amount"] == order["total_amount"]
    assert (told["status"], told["payment_status"]) == ("delivered", "paid")
    assert told["version"] == 5
    redeemed = (
        await db.execute(select(DiscountRedemption.customer_email_canonical, DiscountRedemption.amount))
    ).one()
    assert redeemed == (None, order["discount_amount"])


async def test_search_when_the_buyer_is_erased(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await delivered(client, db, alice)
    await erase(client, alice)
    cases = {"anna": 0, "martin": 0, "33612345678": 0, "weekender": 1, "bag-01": 1, order["order_number"]: 1}
    for words, count in cases.items():
        page = (await client.get("/api/orders", headers=alice.headers, params={"q": words})).json()
        assert len(page["items"]) == count, words
    by_mail = await client.get("/api/orders", headers=alice.headers, params={"customer_email": ANNA})
    assert by_mail.json()["items"] == []


async def test_erasure_when_it_is_told(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    for status in ("delivered", "cancelled", "expired", "returned"):
        await make_order(db, owner=alice, status=status, items=2)
    assert (await erase(client, alice)).json() == {"orders_count": 4}
    events = await db.execute(select(EventOutbox.type, EventOutbox.body))
    told = events.all()
    assert [event.type for event in told] == ["order.updated"] * 4
    assert not any(ANNA in event.body for event in told)
    assert all('"quantity":1' in event.body for event in told)
    assert (await erase(client, alice)).json() == {"orders_count": 0}


@pytest.mark.parametrize("status", ["draft", "pending", "confirmed", "processing", "shipped"])
async def test_erasure_when_an_order_is_open(
    client: AsyncClient, db: SystemSession, alice: Persona, status: str
) -> None:
    closed = await make_order(db, owner=alice, status="delivered")
    still_open = await make_order(db, owner=alice, status=status)
    answer = await erase(client, alice)
    assert (answer.status_code, answer.json()["code"]) == (409, "orders_open")
    assert answer.json()["order_numbers"] == [still_open.order_number or str(still_open.id)]
    await db.refresh(closed)
    assert closed.customer_email == ANNA, "all orders or none"


async def test_erasure_when_others_bought_too(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    await make_order(db, owner=alice, status="delivered")
    bea = await make_order(db, owner=alice, status="pending", email="bea@example.test")
    his = await make_order(db, owner=charlie, status="pending")
    await db.execute(update(OrderItem).values(customization={"name": {"text": "Anna"}}))
    await db.commit()
    assert (await erase(client, alice)).json() == {"orders_count": 1}
    for order in (bea, his):
        await db.refresh(order)
        assert (order.customer_email is not None, order.version) == (True, 1)
    kept = (
        select(func.count())
        .select_from(OrderItem)
        .where(OrderItem.customization["name"]["text"].astext == "Anna")
    )
    assert await db.scalar(kept) == 2


async def test_erasure_when_its_cost_is_counted(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    counts = []
    for orders in (2, 12):
        for _ in range(orders):
            await make_order(db, owner=alice, status="delivered", items=2)
        with statements() as seen:
            assert (await erase(client, alice)).json() == {"orders_count": orders}
        counts.append(len(seen))
    assert counts[0] == counts[1]


async def test_statements_when_a_buyer_has_more_orders_than_they_have_parameters(
    db: SystemSession, alice: Persona
) -> None:
    ids = [uuid7() for _ in range(33_000)]
    order = await make_order(db, owner=alice, status="delivered")
    customers = CustomerRepository(db)
    assert len(await customers.items([*ids, order.id])) == 1
    await customers.erase_texts(ids)
    erased = await customers.erase_orders({**{key: [] for key in ids}, order.id: ["a", "b"]})
    assert [row.id for row in erased] == [order.id]
    assert await db.scalar(select(cast(Order.search, Text)).where(Order.id == order.id)) == "'a' 'b'"


async def test_erasure_when_somebody_else_asks(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="delivered")
    manager = await make_colleague(db, alice, "manager", role="manager")
    refused = await erase(client, manager)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    await db.execute(update(UserSession).where(UserSession.id == alice.session_id).values(step_up_at=None))
    await db.commit()
    unsure = await erase(client, alice)
    assert (unsure.status_code, unsure.json()["code"]) == (401, "step_up_required")
    await db.refresh(order)
    assert order.customer_email == ANNA
    assert await db.scalar(select(Order.version)) == 1
