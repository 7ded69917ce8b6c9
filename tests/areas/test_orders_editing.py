"""Changing orders: fields, baskets with their stock, versions, and acts named by their status."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core.database import SystemSession
from app.models.products import Product, StockMovement, StockReservation
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import ADDRESS, make_order, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona

Recorder = Callable[[], AbstractContextManager[list[str]]]

TABLES = ("orders", "products", "stock_reservations", "discount_codes")


async def change(
    client: AsyncClient, persona: Persona, order: str, expect: int = 200, **body: Any
) -> dict[str, Any]:
    """Change an order; the answer's JSON."""
    answer = await client.patch(f"/api/orders/{order}", headers=persona.headers, json=body)
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    return told


def lines(*wanted: tuple[Product, int]) -> list[dict[str, Any]]:
    """The `items` of a body."""
    items: list[dict[str, Any]] = order_body(*wanted)["items"]
    return items


@pytest.mark.parametrize(
    "address",
    ["https://", "https://track.example.test/1\nhttps://evil.example", "https://a b", "https://a\\b"],
)
async def test_tracking_url_when_it_is_none(
    client: AsyncClient, db: SystemSession, alice: Persona, address: str
) -> None:
    order = await make_order(db, owner=alice)
    answer = await client.patch(
        f"/api/orders/{order.id}", headers=alice.headers, json={"tracking_url": address}
    )
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/tracking_url")


async def test_fields_when_they_are_changed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice)
    told = await change(
        client,
        alice,
        str(order.order_number),
        notes="Ring twice.",
        internal_notes="Friend of the house.",
        metadata={"source": "fair", "tags": ["a", "b"]},
        carrier="Post",
        tracking_url="https://track.example.test/9",
        customer={"name": "Zoé Dupont", "phone": "+33 1 23"},
        shipping_address={**ADDRESS, "city": "Lyon"},
    )
    assert (told["notes"], told["internal_notes"]) == ("Ring twice.", "Friend of the house.")
    assert told["metadata"] == {"source": "fair", "tags": ["a", "b"]}
    assert (told["customer_name"], told["customer_email"]) == ("Zoé Dupont", "anna@example.test")
    assert told["shipping_address"]["city"] == "Lyon"
    assert (told["version"], told["total_amount"]) == (2, 1000)
    assert told["updated_at"] > told["created_at"]
    for words in ("zoe dupont", "33123", "anna", str(order.order_number)):
        found = await client.get("/api/orders", headers=alice.headers, params={"q": words})
        assert [item["id"] for item in found.json()["items"]] == [str(order.id)], words
    cleared = await client.put(
        f"/api/orders/{order.id}", headers=alice.headers, json={"notes": None, "shipping_address": None}
    )
    assert (cleared.json()["notes"], cleared.json()["shipping_address"]) == (None, None)


async def test_metadata_when_its_numbers_are_extreme(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    numbers = {"large": 10**400, "float": 1.5e300, "tiny": 1e-300, "below": -(10**20), "zero": 0}
    told = await change(client, alice, str(order.id), metadata=numbers)
    assert told["metadata"] == {**numbers, "float": (15 * 10**299)}


async def test_codes_when_two_orders_exchange_theirs(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    codes = [await make_code(db, alice, code=name) for name in ("ONE", "TWO")]
    product = await make_product(db, owner=alice, price=1000, stock=10)
    orders = [await place_order(client, alice, product, discount_code=code.code) for code in codes]
    for order, code in zip(orders, reversed(codes), strict=True):
        told = await change(client, alice, order["id"], discount_code=code.code.lower(), version=1)
        assert told["discount_code"] == code.code
    for code in codes:
        await db.refresh(code)
        assert code.redeemed == 1


async def test_locks_when_a_code_makes_a_basket_free(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    """Products before codes, as everybody locks them, so that no two orders wait for each other."""
    await make_code(db, alice, value=10_000)
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await place_order(client, alice, product)
    with statements() as seen:
        told = await change(client, alice, order["id"], discount_code="TEN", version=1)
    assert (told["status"], told["total_amount"]) == ("confirmed", 0)
    locks = [one for one in seen if "FOR NO KEY UPDATE" in one]
    names = [next(name for name in TABLES if f"FROM {name}" in one) for one in locks]
    assert names.index("products") < names.index("discount_codes")


async def test_nothing_when_it_is_sent(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice)
    assert (await change(client, alice, str(order.id)))["version"] == 1
    assert (await change(client, alice, str(order.id), status="pending"))["version"] == 1


async def test_version_when_somebody_else_was_faster(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    path = f"/api/orders/{order.id}"
    read = await client.get(path, headers=alice.headers)
    assert read.headers["ETag"] == '"1"'
    match = {**alice.headers, "If-Match": read.headers["ETag"]}
    first = await client.patch(path, headers=match, json={"notes": "mine"})
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    for headers, body in ((match, {}), (alice.headers, {"version": 1}), ({**match, "If-Match": "x"}, {})):
        late = await client.patch(path, headers=headers, json={"notes": "theirs", **body})
        assert (late.status_code, late.json()["code"], late.json()["version"]) == (412, "version_mismatch", 2)
    anyway = await client.delete(path, headers={**alice.headers, "If-Match": '"2"'})
    assert anyway.status_code == 204


async def test_basket_when_it_is_changed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    kept, dropped, added = [
        await make_product(db, owner=alice, price=price, stock=10, name=name)
        for price, name in ((1000, "Kept"), (500, "Dropped"), (700, "Added"))
    ]
    answer = await client.post("/api/orders", headers=alice.headers, json=order_body((kept, 3), (dropped, 2)))
    order = answer.json()
    without = await change(client, alice, order["id"], 422, items=lines((kept, 1)))
    assert (without["code"], without["errors"][0]["pointer"]) == ("version_required", "/version")
    told = await change(client, alice, order["id"], items=lines((kept, 5), (added, 1)), version=1)
    assert (told["total_amount"], told["version"]) == (5700, 2)
    assert [(item["name"], item["quantity"]) for item in told["order_items"]] == [("Kept", 5), ("Added", 1)]
    assert told["order_number"] == order["order_number"]
    levels = {
        row.name: row.reserved
        for row in await db.scalars(select(Product).execution_options(populate_existing=True))
    }
    assert levels == {"Kept": 5, "Dropped": 0, "Added": 1}
    held = {(row.product_id, row.quantity, row.status) for row in await db.scalars(select(StockReservation))}
    assert held == {(kept.id, 5, "held"), (dropped.id, 2, "released"), (added.id, 1, "held")}
    deltas = [
        row.delta_reserved for row in await db.scalars(select(StockMovement).order_by(StockMovement.id))
    ]
    assert sorted(deltas) == [-2, 1, 2, 2, 3]
    short = await change(client, alice, order["id"], 409, items=lines((added, 99)), version=2)
    assert short["code"] == "insufficient_stock"
    again = (await client.get(f"/api/orders/{order['id']}", headers=alice.headers)).json()
    assert (again["total_amount"], again["version"]) == (5700, 2)


async def test_basket_when_the_order_is_paid(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("confirmed", {"items": [{"product_id": str(alice.user_id), "quantity": 1}], "version": 1}),
        ("confirmed", {"shipping_code": None, "version": 1}),
        ("expired", {"discount_code": "TEN", "version": 1}),
        ("shipped", {"customer": {"name": "x"}}),
        ("delivered", {"shipping_address": ADDRESS}),
        ("cancelled", {"carrier": "Post"}),
    ]
    for status, body in cases:
        order = await make_order(db, owner=alice, status=status)
        told = await change(client, alice, str(order.id), 409, **body)
        assert told["code"] == "order_locked"
        assert told["errors"][0]["pointer"] == f"/{next(iter(body))}"
    late = await make_order(db, owner=alice, status="cancelled")
    assert (await change(client, alice, str(late.id), notes="kept", metadata={"a": 1}))["notes"] == "kept"


async def test_address_of_a_placed_order_when_it_is_taken_away(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice)
    told = await change(client, alice, str(order.id), 422, customer={"email": None})
    assert told["code"] == "customer_email_required"


async def test_draft_basket_when_it_is_changed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=1)
    draft = await place_order(client, alice, product, status="draft")
    told = await change(client, alice, draft["id"], items=lines((product, 4)), version=1)
    assert (told["total_amount"], told["status"]) == (4000, "draft")
    short = await change(client, alice, draft["id"], 409, status="pending")
    assert short["code"] == "insufficient_stock"
    placed = await change(
        client, alice, draft["id"], items=lines((product, 1)), version=2, status="pending", notes="now"
    )
    assert (placed["status"], placed["total_amount"], placed["version"]) == ("pending", 1000, 3)
    assert placed["notes"] == "now"


async def test_status_when_it_is_named(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    reference = str(order.id)
    assert (await change(client, alice, reference, status="processing"))["status"] == "processing"
    shipped = await change(client, alice, reference, status="shipped", carrier="Post")
    assert (shipped["status"], shipped["carrier"], shipped["version"]) == ("shipped", "Post", 3)
    assert shipped["order_items"][0]["fulfilled_quantity"] == 1
    delivered = await change(client, alice, reference, status="delivered")
    assert delivered["completed_at"] is not None
    assert (await change(client, alice, reference, 409, status="processing"))["code"] == "invalid_transition"
    unpaid = await make_order(db, owner=alice)
    assert (await change(client, alice, str(unpaid.id), status="canceled"))["status"] == "cancelled"


@pytest.mark.parametrize("status", ["draft", "confirmed", "expired", "returned", "sold", ""])
async def test_status_when_no_act_leads_to_it(
    client: AsyncClient, db: SystemSession, alice: Persona, status: str
) -> None:
    order = await make_order(db, owner=alice)
    told = await change(client, alice, str(order.id), 422, status=status)
    assert (told["code"], told["errors"][0]["pointer"]) == ("status_not_settable", "/status")


async def test_alias_when_it_names_the_order(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice)
    names = {
        "id": str(order.id),
        "order_id": str(order.order_number),
        "orderId": str(order.id),
        "order_number": str(order.order_number),
    }
    for send, (name, value) in zip(
        (client.post, client.put, client.patch, client.post), names.items(), strict=True
    ):
        answer = await send("/api/orders/update", headers=alice.headers, json={name: value, "notes": name})
        assert (answer.status_code, answer.json()["notes"]) == (200, name)
    for body in ({}, {"id": names["id"], "order_number": names["order_number"]}):
        answer = await client.post("/api/orders/update", headers=alice.headers, json={**body, "notes": "x"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "order_not_named")


@pytest.mark.parametrize("name", ["items", "metadata", "customer", "status"])
async def test_member_when_it_is_null(
    client: AsyncClient, db: SystemSession, alice: Persona, name: str
) -> None:
    order = await make_order(db, owner=alice)
    told = await change(client, alice, str(order.id), 422, **{name: None, "version": 1})
    assert told["code"] == "validation_error"


async def test_basket_when_it_becomes_free(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    gift = await make_product(db, owner=alice, price=0, stock=5, name="Gift")
    order = await place_order(client, alice, product)
    told = await change(client, alice, order["id"], items=lines((gift, 2)), version=1)
    assert (told["status"], told["payment_status"], told["total_amount"]) == ("confirmed", "paid", 0)
    rows = await db.scalars(select(Product).order_by(Product.name).execution_options(populate_existing=True))
    assert [(row.name, row.stock, row.reserved) for row in rows] == [("Bag", 5, 0), ("Gift", 3, 0)]
