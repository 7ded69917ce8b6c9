"""The life of an order over HTTP: placed, paid by hand, made, shipped, delivered, and what is left of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.orders import OrderStatusHistory
from app.models.products import Product, StockMovement, StockReservation
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import ADDRESS, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona


async def act(
    client: AsyncClient, persona: Persona, order: dict[str, Any], verb: str, expect: int = 200, **body: Any
) -> dict[str, Any]:
    """Do something with an order; the answer's JSON."""
    answer = await client.post(f"/api/orders/{order['id']}/{verb}", headers=persona.headers, json=body)
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def quantities(db: SystemSession, product: Product) -> tuple[int, int]:
    """Stock and reserved of a product."""
    row = (await db.execute(select(Product.stock, Product.reserved).where(Product.id == product.id))).one()
    return row.stock, row.reserved


async def event_types(db: SystemSession) -> list[str]:
    """The types of all orders' events so far."""
    rows = await db.scalars(
        select(EventOutbox.type).where(EventOutbox.type.startswith("order.")).order_by(EventOutbox.id)
    )
    return list(rows)


async def test_order_when_it_goes_all_the_way(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=2390, stock=10, sku="BAG-1")
    placed = await place_order(client, alice, product, 2, notes="Ring twice.")
    assert placed["status"] == "pending"
    assert placed["payment_status"] == "unpaid"
    assert placed["order_number"].endswith("-000001")
    assert (placed["total_amount"], placed["tax_amount"]) == (4780, 797)
    assert placed["customer_email"] == "Anna@Example.test"
    assert placed["reservation_expires_at"] > placed["placed_at"]
    assert await quantities(db, product) == (10, 2)

    paid = await act(client, alice, placed, "mark-paid", method="cash", reference="till 4", amount=4780)
    assert (paid["status"], paid["payment_status"], paid["amount_paid"]) == ("confirmed", "paid", 4780)
    assert paid["reservation_expires_at"] is None
    assert [(row["method"], row["status"]) for row in paid["payments"]] == [("cash", "applied")]
    assert await quantities(db, product) == (8, 0)

    made = await act(client, alice, placed, "process")
    assert made["available_transitions"] == ["shipped", "cancelled"]
    shipped = await act(
        client, alice, placed, "ship", carrier="Colissimo", tracking_url="https://track.example.test/1"
    )
    assert (shipped["status"], shipped["carrier"]) == ("shipped", "Colissimo")
    assert [item["fulfilled_quantity"] for item in shipped["order_items"]] == [2]
    delivered = await act(client, alice, placed, "deliver")
    assert delivered["status"] == "delivered"
    assert delivered["completed_at"] == delivered["delivered_at"]
    assert delivered["available_transitions"] == []
    assert delivered["version"] == 5

    told = await event_types(db)
    assert told == [
        "order.created",
        "order.paid",
        "order.processing",
        "order.shipped",
        "order.delivered",
        "order.completed",
    ]
    movements = await db.scalars(select(StockMovement.reason).order_by(StockMovement.id))
    assert list(movements) == ["reserve", "commit"]
    reservation = (await db.scalars(select(StockReservation))).one()
    assert (reservation.status, reservation.quantity) == ("committed", 2)


async def test_history_when_an_order_moves(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1000)
    order = await place_order(client, alice, product)
    await act(client, alice, order, "mark-paid", method="bank_transfer", reference="VIR 1", amount=1000)
    await act(client, alice, order, "hold", reason="address unclear")
    await act(client, alice, order, "release-hold", reason="address confirmed")
    rows = (await db.scalars(select(OrderStatusHistory).order_by(OrderStatusHistory.position))).all()
    assert [(row.field, row.from_value, row.to_value) for row in rows] == [
        ("status", None, "pending"),
        ("status", "pending", "confirmed"),
        ("payment_status", "unpaid", "paid"),
        ("hold_reason", None, "manual"),
        ("hold_reason", "manual", None),
    ]
    assert [row.reason for row in rows[1:]] == [
        "paid by bank transfer",
        "paid by bank transfer",
        "address unclear",
        "address confirmed",
    ]
    assert {(row.actor_type, row.actor_id) for row in rows} == {("user", str(alice.user_id))}
    assert all(row.request_id for row in rows)

    path = f"/api/orders/{order['order_number']}/history"
    first = (await client.get(path, headers=alice.headers, params={"limit": 3, "count": "true"})).json()
    assert [entry["position"] for entry in first["items"]] == [1, 2, 3]
    assert first["total"] == 5
    rest = (await client.get(path, headers=alice.headers, params={"cursor": first["next_cursor"]})).json()
    assert [entry["position"] for entry in rest["items"]] == [4, 5]
    assert rest["next_cursor"] is None
    second = (await client.get(path, headers=alice.headers, params={"limit": 2, "page": 2})).json()
    assert [entry["position"] for entry in second["items"]] == [3, 4]
    forged = await client.get(path, headers=alice.headers, params={"cursor": "AAAA"})
    assert (forged.status_code, forged.json()["code"]) == (422, "cursor_invalid")


async def test_repeated_act_when_the_order_is_there_already(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000)
    order = await place_order(client, alice, product)
    await act(client, alice, order, "mark-paid", method="cash", amount=1000)
    for verb in ("hold", "hold"):
        held = await act(client, alice, order, verb)
    assert held["version"] == 3
    await act(client, alice, order, "release-hold", reason="checked")
    for verb in ("process", "process", "ship", "deliver", "deliver"):
        last = await act(client, alice, order, verb)
    assert last["version"] == 7
    assert len(last["history"]) == 8
    again = await act(client, alice, order, "ship", expect=409)
    assert (again["code"], again["from"], again["to"], again["allowed"]) == (
        "invalid_transition",
        "delivered",
        "shipped",
        [],
    )


async def test_ship_when_only_some_lines_leave(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    one, two = [await make_product(db, owner=alice, price=1000, name=name) for name in ("One", "Two")]
    answer = await client.post("/api/orders", headers=alice.headers, json=order_body((one, 3), (two, 1)))
    order = answer.json()
    await act(client, alice, order, "mark-paid", method="cash", amount=4000)
    first, second = (item["id"] for item in order["order_items"])
    part = await act(client, alice, order, "ship", lines=[{"item_id": first, "quantity": 2}])
    assert (part["status"], part["shipped_at"]) == ("processing", None)
    more = await act(client, alice, order, "ship", lines=[{"item_id": second, "quantity": 1}])
    assert [item["fulfilled_quantity"] for item in more["order_items"]] == [2, 1]
    excess = await act(client, alice, order, "ship", expect=422, lines=[{"item_id": first, "quantity": 2}])
    assert excess["code"] == "quantity_exceeded"
    assert excess["errors"][0]["pointer"] == "/lines/0/quantity"
    foreign = {"item_id": str(one.id), "quantity": 1}
    assert (await act(client, alice, order, "ship", expect=404, lines=[foreign]))["code"] == "item_not_found"
    done = await act(client, alice, order, "ship", lines=[{"item_id": first, "quantity": 1}])
    assert done["status"] == "shipped"
    assert await event_types(db) == [
        "order.created",
        "order.paid",
        "order.processing",
        "order.updated",
        "order.shipped",
    ]


async def test_free_order_when_it_is_placed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=0, stock=3)
    order = await place_order(client, alice, product, 2, payment_method="checkout")
    assert (order["status"], order["payment_status"], order["payment_method"]) == (
        "confirmed",
        "paid",
        "none",
    )
    assert order["reservation_expires_at"] is None
    assert await quantities(db, product) == (1, 0)
    assert await event_types(db) == ["order.created", "order.paid"]
    read = (await client.get(f"/api/orders/{order['id']}", headers=alice.headers)).json()
    assert [(row["field"], row["to_value"]) for row in read["history"]] == [
        ("status", "pending"),
        ("status", "confirmed"),
        ("payment_status", "paid"),
    ]
    cancelled = await act(client, alice, order, "cancel", reason="not needed")
    assert cancelled["status"] == "cancelled"
    assert [item["restocked_quantity"] for item in cancelled["order_items"]] == [2]
    assert await quantities(db, product) == (3, 0)


@pytest.mark.parametrize("path", ["//evil.test", "https://evil.test", "/a\\b", "/a\tb", "thanks"])
async def test_checkout_when_a_path_leaves_the_application(
    client: AsyncClient, db: SystemSession, alice: Persona, path: str
) -> None:
    product = await make_product(db, owner=alice)
    body = order_body(
        (product, 1), payment_method="checkout", checkout={"success_path": path, "cancel_path": "/basket"}
    )
    answer = await client.post("/api/orders", headers=alice.headers, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "return_path_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/checkout/success_path"


async def test_draft_when_it_is_submitted(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    draft = await place_order(client, alice, product, 2, status="draft", customer={})
    assert (draft["status"], draft["order_number"], draft["placed_at"]) == ("draft", None, None)
    assert await quantities(db, product) == (5, 0)
    assert await event_types(db) == []
    nameless = await act(client, alice, draft, "submit", expect=422)
    assert nameless["code"] == "customer_email_required"
    await client.patch(
        f"/api/orders/{draft['id']}",
        headers=alice.headers,
        json={"customer": {"email": "anna@example.test"}},
    )
    stored = (await db.scalars(select(Product).where(Product.id == product.id))).one()
    stored.price = 1100
    await db.commit()
    changed = await act(client, alice, draft, "submit", expect=409, expected_total=2000)
    assert (changed["code"], changed["expected"], changed["actual"]) == ("price_changed", 2000, 2200)
    placed = await act(client, alice, draft, "submit", expected_total=2200)
    assert (placed["status"], placed["total_amount"]) == ("pending", 2200)
    assert placed["order_number"].endswith("-000001")
    assert [(row["from_value"], row["to_value"]) for row in placed["history"]] == [("draft", "pending")]
    assert await quantities(db, product) == (5, 2)
    assert await event_types(db) == ["order.created"]
    assert (await act(client, alice, draft, "submit", expect=409))["code"] == "invalid_transition"
    found = await client.get("/api/orders", headers=alice.headers, params={"q": placed["order_number"]})
    assert [item["id"] for item in found.json()["items"]] == [draft["id"]]


async def test_delete_when_an_order_is_a_draft_or_not_paid(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    draft = await place_order(client, alice, product, status="draft")
    order = await place_order(client, alice, product)
    path = "/api/orders/{}".format
    assert (await client.delete(path(draft["id"]), headers=alice.headers)).status_code == 204
    assert (await client.get(path(draft["id"]), headers=alice.headers)).status_code == 404
    for _ in range(2):
        assert (await client.delete(path(order["id"]), headers=alice.headers)).status_code == 204
    read = (await client.get(path(order["id"]), headers=alice.headers)).json()
    assert read["status"] == "cancelled"
    assert await quantities(db, product) == (5, 0)
    paid = await place_order(client, alice, product)
    await act(client, alice, paid, "mark-paid", method="cash", amount=1000)
    refused = await client.delete(path(paid["id"]), headers=alice.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_deletable")


async def test_draft_when_the_buyer_was_shown_another_total(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000)
    body = order_body((product, 2), status="draft")
    stale = await client.post("/api/orders", headers=alice.headers, json={**body, "expected_total": 1900})
    problem = stale.json()
    assert (stale.status_code, problem["code"]) == (409, "price_changed")
    assert (problem["expected"], problem["actual"]) == (1900, 2000)
    fresh = await client.post("/api/orders", headers=alice.headers, json={**body, "expected_total": 2000})
    assert (fresh.status_code, fresh.json()["total_amount"]) == (201, 2000)


async def test_placing_when_the_order_has_one_line_or_fifty(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    products = [await make_product(db, owner=alice, price=1000 + n, stock=100) for n in range(50)]
    await place_order(client, alice, products[0])
    costs = []
    for lines in (products[:1], products):
        with statements() as seen:
            await client.post(
                "/api/orders", headers=alice.headers, json=order_body(*((line, 1) for line in lines))
            )
        costs.append(len(seen))
    assert costs == [4, 4]


async def test_placing_when_the_code_is_limited_to_one_per_buyer(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    """The dearest way of placing an order that is to be paid."""
    await make_code(db, alice, max_per_customer=5)
    product = await make_product(db, owner=alice, price=1000, stock=100)
    await place_order(client, alice, product)
    with statements() as seen:
        await place_order(client, alice, product, discount_code="TEN")
    assert len(seen) == 6


async def test_order_when_two_organisations_number_theirs(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    for persona in (alice, charlie):
        product = await make_product(db, owner=persona)
        numbers = [
            (await place_order(client, persona, product, shipping_address=ADDRESS))["order_number"]
            for _ in range(2)
        ]
        assert [number[-6:] for number in numbers] == ["000001", "000002"]
