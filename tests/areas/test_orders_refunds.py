"""Refunds over HTTP: by lines, shipping and amounts, to the last unit; what they count, tell and refuse."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.orders import Order, OrderPayment, Refund, ShippingRate, TaxRate
from app.models.products import Product, StockMovement
from app.services.orders.provider_refunds import RefundImporter
from tests.areas.test_orders_life import act, event_types, quantities
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import make_order, make_payment, make_refund, order_body
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

Line = tuple[Product, int]


async def make_paid(client: AsyncClient, persona: Persona, *lines: Line, **body: Any) -> dict[str, Any]:
    """An order that was placed and paid in cash over HTTP; the answer's JSON."""
    placed = await client.post("/api/orders", headers=persona.headers, json=order_body(*lines, **body))
    assert placed.status_code == 201, placed.text
    order: dict[str, Any] = placed.json()
    return await act(client, persona, order, "mark-paid", method="cash", amount=order["total_amount"])


async def refund(
    client: AsyncClient, persona: Persona, order: dict[str, Any], expect: int = 201, **body: Any
) -> dict[str, Any]:
    """Ask for a refund; the answer's JSON."""
    sent = {"reason": "other", "reference": "VIR 7", **body}
    answer = await client.post(f"/api/orders/{order['id']}/refunds", headers=persona.headers, json=sent)
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def read(client: AsyncClient, persona: Persona, order: dict[str, Any]) -> dict[str, Any]:
    """The order as it stands."""
    told: dict[str, Any] = (await client.get(f"/api/orders/{order['id']}", headers=persona.headers)).json()
    return told


def units(item: dict[str, Any], quantity: int = 1) -> dict[str, Any]:
    """Units of a line, as a refund names them."""
    return {"item_id": item["id"], "quantity": quantity}


async def example_two(client: AsyncClient, db: SystemSession, alice: Persona) -> dict[str, Any]:
    """The second worked example of the page on money, paid: two rates, a code and shipping."""
    owner = alice.organization_id
    for category, bps in (("standard", 2000), ("food", 550)):
        db.add(TaxRate(organization_id=owner, country="FR", region="", tax_category=category, rate_bps=bps))
    home = {"code": "home", "name": "Home", "countries": ["FR"], "amount": 590, "currency": "EUR"}
    db.add(ShippingRate(organization_id=owner, **home))
    await make_code(db, alice, kind="fixed", value=1000, currency="EUR")
    bag, jam, pen = [
        await make_product(db, owner=alice, price=price, tax_category=category, stock=10)
        for price, category in ((12345, "standard"), (2990, "food"), (999, "standard"))
    ]
    order = await make_paid(
        client, alice, (bag, 1), (jam, 3), (pen, 2), shipping_code="home", discount_code="TEN"
    )
    assert (order["total_amount"], order["tax_amount"]) == (22903, 2834)
    return order


def taxes(answer: dict[str, Any]) -> dict[int, tuple[int, int]]:
    """Gross and tax of a refund by rate."""
    return {group["rate_bps"]: (group["gross_amount"], group["tax_amount"]) for group in answer["tax_groups"]}


async def test_line_when_its_units_are_refunded_one_by_one(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The first worked example: ten units at 25 % off, and an eleventh that is not there."""
    await make_code(db, alice, value=2500)
    product = await make_product(db, owner=alice, price=2390, stock=20)
    order = await make_paid(client, alice, (product, 10), discount_code="TEN")
    assert order["total_amount"] == 17925
    line = units(order["order_items"][0])
    refunds = [await refund(client, alice, order, lines=[line]) for _ in range(10)]
    assert [told["amount"] for told in refunds] == [1793, 1792] * 5
    assert sum(taxes(told)[2000][1] for told in refunds) == 2987
    again = await refund(client, alice, order, 422, lines=[line])
    assert again["code"] == "refund_quantity_exceeded"
    assert again["errors"][0]["pointer"] == "/lines/0/quantity"
    after = await read(client, alice, order)
    assert (after["payment_status"], after["amount_refunded"]) == ("refunded", 17925)
    item = after["order_items"][0]
    assert (item["refunded_quantity"], item["refunded_amount"], item["restocked_quantity"]) == (10, 17925, 0)
    assert [row["to_value"] for row in after["history"][-2:]] == ["partially_refunded", "refunded"]
    assert after["history"][-1]["reason"] == "refund: other"


async def test_second_line_when_its_units_are_refunded_one_by_one(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The second worked example: the tax of a group comes back with its only line."""
    order = await example_two(client, db, alice)
    line = units(order["order_items"][1])
    refunds = [await refund(client, alice, order, lines=[line]) for _ in range(3)]
    assert [taxes(told) for told in refunds] == [{550: (2862, 149)}, {550: (2861, 150)}, {550: (2862, 149)}]


async def test_amount_when_it_is_goodwill(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await example_two(client, db, alice)
    told = await refund(client, alice, order, amount=1000, reason="goodwill", note="Sorry for the delay.")
    assert taxes(told) == {550: (375, 20), 2000: (625, 104)}
    assert (told["lines"], told["shipping_amount"], told["status"]) == ([], 0, "succeeded")
    assert (told["source"], told["actor_type"], told["actor_id"]) == ("api", "user", str(alice.user_id))
    after = await read(client, alice, order)
    assert (after["payment_status"], after["amount_refunded"], after["version"]) == (
        "partially_refunded",
        1000,
        3,
    )
    payment = after["payments"][0]
    assert (payment["amount_refunded"], payment["amount_refund_pending"]) == (1000, 0)
    assert [item["refunded_amount"] for item in after["order_items"]] == [0, 0, 0]


async def test_everything_when_it_comes_back_after_goodwill(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Lines and shipping come to more than is left, and with the rest of it the tax is given back exactly."""
    order = await example_two(client, db, alice)
    first = await refund(client, alice, order, amount=1000, reason="goodwill")
    everything: dict[str, Any] = {
        "lines": [units(item, item["quantity"]) for item in order["order_items"]],
        "shipping_amount": 590,
    }
    over = await refund(client, alice, order, 422, **everything)
    assert (over["code"], over["refundable"]) == ("refund_exceeds_paid", 21903)
    rest = await refund(client, alice, order, **everything, amount=over["refundable"])
    assert sum(line["amount"] for line in rest["lines"]) + rest["shipping_amount"] == 21903
    sums = [
        tuple(sum(taxes(told)[rate][n] for told in (first, rest)) for n in range(2)) for rate in (550, 2000)
    ]
    assert sums == [(8585, 448), (14318, 2386)]
    after = await read(client, alice, order)
    assert (after["payment_status"], after["amount_refunded"]) == ("refunded", 22903)


async def test_line_when_its_first_refund_comes_back(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """Three units at 4 are given back as 1, 2 and 1; without the first, the others would come to 5."""
    terms = {"prices_include_tax": False, "default_tax_rate_bps": 3333}
    await client.patch("/api/orders/settings", headers=alice.headers, json=terms)
    pin, bag = [await make_product(db, owner=alice, price=price) for price in (1, 5000)]
    order = await make_paid(client, alice, (pin, 3), (bag, 1))
    line = order["order_items"][0]
    assert line["total_amount"] == 4
    first, second = [await refund(client, alice, order, lines=[units(line)]) for _ in range(2)]
    assert (first["amount"], second["amount"]) == (1, 2)
    async with database.transaction() as session:
        row = await session.get_one(Refund, (alice.organization_id, UUID(first["id"])))
        payment = await session.get_one(OrderPayment, (alice.organization_id, row.payment_id))
        held = await session.get_one(Order, (alice.organization_id, row.order_id))
        await RefundImporter(session, held, payment).move(row, "failed")
    explained = await client.get(f"/api/orders/{order['id']}/explain", headers=alice.headers)
    assert explained.json()["refundable"]["lines"][0]["amount"] == 2
    again = [await refund(client, alice, order, lines=[units(line)]) for _ in range(2)]
    assert [told["amount"] for told in again] == [2, 0]
    item = (await read(client, alice, order))["order_items"][0]
    assert (item["refunded_quantity"], item["refunded_amount"]) == (3, 4)


async def test_shipping_when_it_is_refunded_in_parts(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await example_two(client, db, alice)
    told = await refund(client, alice, order, shipping_amount=400)
    assert (told["amount"], told["shipping_amount"], taxes(told)) == (400, 400, {2000: (400, 67)})
    over = await refund(client, alice, order, 422, shipping_amount=191)
    assert (over["code"], over["refundable"]) == ("refund_shipping_exceeded", 190)
    pen = units(order["order_items"][2], 2)
    both = await refund(client, alice, order, lines=[pen], shipping_amount=190)
    assert (both["amount"], both["shipping_amount"]) == (1912 + 190, 190)
    assert taxes(both)[2000][0] == 2102
    assert (await refund(client, alice, order, 422, shipping_amount=1))["code"] == "refund_shipping_exceeded"


async def test_shipping_when_prices_exclude_tax(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The third worked example: shipping is refundable with its tax."""
    settings = await client.get("/api/orders/settings", headers=alice.headers)
    assert settings.status_code == 200
    await client.patch("/api/orders/settings", headers=alice.headers, json={"prices_include_tax": False})
    owner = alice.organization_id
    for category, bps in (("standard", 2000), ("food", 1000)):
        db.add(TaxRate(organization_id=owner, country="FR", region="", tax_category=category, rate_bps=bps))
    home = {"code": "home", "name": "Home", "countries": ["FR"], "amount": 990, "currency": "EUR"}
    db.add(ShippingRate(organization_id=owner, **home))
    await make_code(db, alice, value=1250)
    desk, jam = [
        await make_product(db, owner=alice, price=price, tax_category=category)
        for price, category in ((10000, "standard"), (3333, "food"))
    ]
    order = await make_paid(client, alice, (desk, 1), (jam, 3), shipping_code="home", discount_code="TEN")
    assert order["total_amount"] == 21312
    assert (await refund(client, alice, order, 422, shipping_amount=1189))["refundable"] == 1188
    told = await refund(client, alice, order, shipping_amount=1188)
    assert taxes(told) == {2000: (1188, 198)}
    await refund(client, alice, order, amount=21312 - 1188)
    groups = [group for row in (await read(client, alice, order))["refunds"] for group in row["tax_groups"]]
    assert sum(group["tax_amount"] for group in groups) == 2823


async def test_amount_when_it_stands_beside_lines(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await example_two(client, db, alice)
    bag, _, pen = order["order_items"]
    lines = [units(bag), units(pen), units(pen)]
    above = await refund(client, alice, order, 422, lines=lines, amount=13729)
    assert (above["code"], above["errors"][0]["pointer"]) == ("refund_amount_above_lines", "/amount")
    told = await refund(client, alice, order, lines=lines, amount=1000)
    assert told["lines"] == [
        {"item_id": bag["id"], "quantity": 1, "amount": 861},
        {"item_id": pen["id"], "quantity": 2, "amount": 139},
    ]
    after = await read(client, alice, order)
    assert [(item["refunded_quantity"], item["refunded_amount"]) for item in after["order_items"]] == [
        (1, 861),
        (0, 0),
        (2, 139),
    ]
    twice = await refund(client, alice, order, 422, lines=[units(pen)])
    assert twice["code"] == "refund_quantity_exceeded"
    rest = await refund(client, alice, order, amount=21903)
    assert rest["amount"] == 21903


async def test_free_line_when_it_comes_back(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """What was given is given back for nothing: a refund of 0 that needs no entry in the books."""
    bag = await make_product(db, owner=alice, price=1000)
    gift = await make_product(db, owner=alice, price=0, name="Gift", stock=5)
    order = await make_paid(client, alice, (bag, 1), (gift, 2))
    await act(client, alice, order, "ship")
    line = units(order["order_items"][1], 2)
    told = await refund(client, alice, order, lines=[line], reference=None, returned=True, restock=True)
    assert (told["amount"], told["status"], told["tax_groups"]) == (0, "succeeded", [])
    after = await read(client, alice, order)
    assert (after["payment_status"], after["status"]) == ("paid", "shipped")
    assert await quantities(db, gift) == (5, 0)


async def test_return_when_everything_has_come_back(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    one, two = [
        await make_product(db, owner=alice, price=1000, stock=5, name=name) for name in ("One", "Two")
    ]
    order = await make_paid(client, alice, (one, 2), (two, 1))
    first, second = order["order_items"]
    early = await refund(client, alice, order, 422, lines=[units(first)], returned=True)
    assert early["code"] == "returned_quantity_exceeded"
    await act(client, alice, order, "ship")
    await act(client, alice, order, "deliver")
    back = await refund(
        client, alice, order, lines=[units(first, 2)], returned=True, restock=True, reason="returned"
    )
    assert (back["is_return"], back["restock"]) == (True, True)
    assert (await read(client, alice, order))["status"] == "delivered"
    assert await quantities(db, one) == (5, 0)
    await refund(client, alice, order, lines=[units(second)], returned=True)
    after = await read(client, alice, order)
    assert (after["status"], after["payment_status"]) == ("returned", "refunded")
    assert [(item["returned_quantity"], item["restocked_quantity"]) for item in after["order_items"]] == [
        (2, 2),
        (1, 0),
    ]
    assert await quantities(db, two) == (4, 0)
    movement = (await db.scalars(select(StockMovement).where(StockMovement.reason == "restock"))).one()
    assert (movement.delta_stock, str(movement.refund_id)) == (2, back["id"])
    assert (await event_types(db))[-3:] == ["order.refunded", "order.refunded", "order.returned"]
    assert [(row["field"], row["to_value"]) for row in after["history"][-2:]] == [
        ("status", "returned"),
        ("payment_status", "refunded"),
    ]


async def test_return_when_the_money_went_back_before(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Nothing is left to give back, so the units come back for an amount of 0."""
    order = await make_order(db, owner=alice, status="delivered")
    named = {"id": order.id}
    item = (await read(client, alice, named))["order_items"][0]
    await refund(client, alice, named, amount=order.total_amount, reason="goodwill")
    back: dict[str, Any] = {"lines": [units(item)], "returned": True, "reference": None}
    over = await refund(client, alice, named, 422, **{**back, "reference": "till"})
    assert (over["code"], over["refundable"]) == ("refund_exceeds_paid", 0)
    told = await refund(client, alice, named, **back, amount=0)
    assert (told["amount"], told["lines"][0]["amount"], told["tax_groups"]) == (0, 0, [])
    after = await read(client, alice, named)
    assert (after["status"], after["payment_status"]) == ("returned", "refunded")
    assert [(row["field"], row["to_value"]) for row in after["history"]][-2:] == [
        ("payment_status", "refunded"),
        ("status", "returned"),
    ]


async def test_restock_when_the_pieces_are_back_already(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A cancelled order whose money stayed at first: the shelf gets its pieces once."""
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await make_paid(client, alice, (product, 2))
    await act(client, alice, order, "cancel", refund="none")
    assert await quantities(db, product) == (5, 0)
    await refund(client, alice, order, lines=[units(order["order_items"][0], 2)], restock=True)
    assert await quantities(db, product) == (5, 0)
    after = await read(client, alice, order)
    assert (after["status"], after["payment_status"]) == ("cancelled", "refunded")


async def test_shipment_when_a_piece_went_back_on_the_shelf_before(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """What was given back and restocked before it left does not leave; the rest makes the order shipped."""
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await make_paid(client, alice, (product, 3))
    line = order["order_items"][0]
    await refund(client, alice, order, lines=[units(line)], restock=True)
    assert await quantities(db, product) == (3, 0)
    too_many = await client.post(
        f"/api/orders/{order['id']}/ship", headers=alice.headers, json={"lines": [units(line, 3)]}
    )
    assert (too_many.status_code, too_many.json()["code"]) == (422, "quantity_exceeded")
    shipped = await act(client, alice, order, "ship")
    assert (shipped["status"], shipped["order_items"][0]["fulfilled_quantity"]) == ("shipped", 2)
    await act(client, alice, order, "deliver")
    await refund(client, alice, order, lines=[units(line, 2)], returned=True, restock=True)
    assert (await read(client, alice, order))["status"] == "returned"
    assert await quantities(db, product) == (5, 0)


async def test_event_when_money_goes_back(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    told = await refund(client, alice, {"id": str(order.order_number)}, amount=400, reason="goodwill")
    event = (await db.scalars(select(EventOutbox).where(EventOutbox.type == "order.refunded"))).one()
    assert event.is_webhook
    assert f'"refund":{{"refund_id":"{told["id"]}","amount":400' in event.body.replace(" ", "")
    assert '"amount_refunded":400' in event.body
    assert '"payment_status":"partially_refunded"' in event.body


async def test_refunds_when_they_are_read(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    path = f"/api/orders/{order.id}/refunds"
    body = {"amount": 100, "reason": "goodwill", "reference": "VIR 1"}
    answers = [
        await client.post(path, headers=alice.headers, json={**body, "amount": amount})
        for amount in (100, 200, 300)
    ]
    address = answers[2].headers["Location"]
    assert address == f"{path}/{answers[2].json()['id']}"
    assert (await client.get(address, headers=bob.headers)).json() == answers[2].json()
    single = (await client.get(f"/api/orders/{order.id}", headers=bob.headers)).json()
    assert single["refunds"] == [answer.json() for answer in answers]
    newest = (await client.get(path, headers=bob.headers, params={"limit": 2, "count": "true"})).json()
    assert newest["total"] == 3
    rest = (await client.get(path, headers=bob.headers, params={"cursor": newest["next_cursor"]})).json()
    ids = [item["id"] for item in [*newest["items"], *rest["items"]]]
    assert sorted(ids) == sorted(answer.json()["id"] for answer in answers)
    other = await make_order(db, owner=alice, status="confirmed")
    stray = await client.get(
        f"/api/orders/{other.id}/refunds/{answers[0].json()['id']}", headers=alice.headers
    )
    assert (stray.status_code, stray.json()["code"]) == (404, "not_found")
    moved = await client.get(
        f"/api/orders/{other.id}/refunds",
        headers=alice.headers,
        params={"cursor": newest["next_cursor"]},
    )
    assert (moved.status_code, moved.json()["code"]) == (422, "cursor_invalid")


async def test_order_when_no_money_is_there(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"status": "pending"}, 409, "nothing_to_refund"),
        ({"status": "draft"}, 409, "nothing_to_refund"),
        (
            {"status": "confirmed", "amount_paid": 0, "total_amount": 0, "subtotal": 0},
            409,
            "nothing_to_refund",
        ),
        ({"status": "confirmed", "payment_status": "disputed"}, 409, "order_disputed"),
        ({"status": "delivered", "payment_status": "charged_back"}, 409, "order_disputed"),
    ]
    for columns, status, code in cases:
        order = await make_order(db, owner=alice, **columns)
        assert (await refund(client, alice, {"id": order.id}, status, amount=1))["code"] == code


async def test_body_when_it_does_not_fit_the_order(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed", items=2)
    told = (await client.get(f"/api/orders/{order.id}", headers=alice.headers)).json()
    known, unknown = units(told["order_items"][0]), {"item_id": str(uuid7()), "quantity": 1}
    cases: list[tuple[dict[str, Any], int, str, str]] = [
        ({"amount": 2002}, 422, "refund_exceeds_paid", "/amount"),
        ({"amount": 1, "reference": None}, 422, "reference_required", "/reference"),
        ({"shipping_amount": 1}, 422, "refund_shipping_exceeded", "/shipping_amount"),
        ({"lines": [known, unknown]}, 404, "item_not_found", "/lines/1/item_id"),
        ({"lines": [known, known]}, 422, "refund_quantity_exceeded", "/lines/0/quantity"),
        ({"amount": 1, "version": 7}, 412, "version_mismatch", ""),
    ]
    for body, status, code, pointer in cases:
        problem = await refund(client, alice, {"id": order.id}, status, **body)
        assert problem["code"] == code
        assert pointer in [error["pointer"] for error in problem["errors"]] or not pointer
    missing = await refund(client, alice, {"id": order.id}, 404, amount=1, payment_id=str(uuid7()))
    assert missing["code"] == "payment_not_found"
    assert await read(client, alice, {"id": order.id}) == told


BODIES: list[tuple[dict[str, Any], str]] = [
    ({}, "refund_empty"),
    ({"amount": 0}, "refund_empty"),
    ({"amount": 0, "shipping_amount": 0}, "refund_empty"),
    ({"amount": 1.0}, "invalid"),
    ({"amount": True}, "invalid"),
    ({"amount": "1"}, "invalid"),
    ({"amount": -1}, "greater_than_equal"),
    ({"amount": 10**30}, "less_than_equal"),
    ({"lines": []}, "too_short"),
    ({"lines": [{"item_id": "x", "quantity": 1}]}, "uuid_parsing"),
    ({"amount": 5, "reason": "because"}, "literal_error"),
    ({"amount": 5, "returned": True}, "lines_required"),
    ({"amount": 5, "restock": True}, "lines_required"),
    ({"amount": 5, "restock": "yes"}, "bool_type"),
    ({"amount": 5, "reference": ""}, "too_short"),
    ({"amount": 5, "note": "a\x00b"}, "invalid"),
    ({"amount": 5, "currency": "EUR"}, "extra_forbidden"),
]


@pytest.mark.parametrize(("body", "code"), BODIES, ids=lambda value: str(value)[:40])
async def test_body_when_it_is_not_valid(
    client: AsyncClient, db: SystemSession, alice: Persona, body: dict[str, Any], code: str
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    problem = await refund(client, alice, {"id": order.id}, 422, **body)
    assert (problem["code"], problem["errors"][0]["code"]) == ("validation_error", code)


async def test_payment_when_it_was_not_applied(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Money that does not fit goes back by its amount, and the order's own sums know nothing of it."""
    order = await make_order(db, owner=alice, status="confirmed")
    extra = await make_payment(db, order=order, amount=700, status="unapplied", unapplied_reason="duplicate")
    item = (await read(client, alice, {"id": order.id}))["order_items"][0]
    named: dict[str, Any] = {"payment_id": str(extra.id), "reason": "duplicate"}
    problem = await refund(client, alice, {"id": order.id}, 422, lines=[units(item)], **named)
    assert problem["code"] == "refund_amount_only"
    over = await refund(client, alice, {"id": order.id}, 422, amount=701, **named)
    assert (over["code"], over["refundable"]) == ("refund_exceeds_paid", 700)
    told = await refund(client, alice, {"id": order.id}, amount=700, **named)
    assert (told["payment_id"], told["tax_groups"]) == (str(extra.id), [])
    after = await read(client, alice, {"id": order.id})
    assert (after["payment_status"], after["amount_refunded"]) == ("paid", 0)
    await db.refresh(extra)
    assert extra.amount_refunded == 700


async def test_payment_when_a_provider_took_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """It is asked for, and needs no entry in books; what it comes to is the provider's to say."""
    order = await make_order(db, owner=alice, status="confirmed")
    await db.execute(update(OrderPayment).values(method="stripe", stripe_payment_intent_id="pi_1"))
    asked = await refund(client, alice, {"id": order.id}, amount=5, reference=None)
    assert (asked["status"], asked["amount"], asked["reference"]) == ("pending", 5, None)
    after = await read(client, alice, {"id": order.id})
    assert (after["payment_status"], after["amount_refunded"], after["amount_refund_pending"]) == (
        "paid",
        0,
        5,
    )
    voided = await make_payment(db, order=order, status="voided")
    refused = await refund(client, alice, {"id": order.id}, 409, amount=5, payment_id=str(voided.id))
    assert refused["code"] == "nothing_to_refund"


async def test_rights_when_a_role_asks(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    path = f"/api/orders/{order.id}/refunds"
    body = {"amount": 1, "reason": "goodwill", "reference": "till"}
    expected = {"admin": (201, 200), "manager": (403, 200), "member": (403, 200), "designer": (403, 403)}
    for role, statuses in expected.items():
        colleague = await make_colleague(db, alice, role, role=role)
        written = await client.post(path, headers=colleague.headers, json=body)
        listed = await client.get(path, headers=colleague.headers)
        assert (written.status_code, listed.status_code) == statuses, role
        if written.status_code == 403:
            assert written.json()["code"] == "permission_denied"


async def test_stranger_when_a_refund_is_named(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    own = await make_order(db, owner=charlie, status="confirmed")
    made = await make_refund(db, order=order)
    body = {"amount": 1, "reason": "goodwill", "reference": "till"}
    path = f"/api/orders/{order.id}"
    headers = charlie.headers
    answers = [
        await client.post(f"{path}/refunds", headers=headers, json=body),
        await client.get(f"{path}/refunds", headers=headers),
        await client.get(f"{path}/refunds/{made.id}", headers=headers),
        await client.get(f"/api/orders/{own.id}/refunds/{made.id}", headers=headers),
        await client.get(f"{path}/explain", headers=headers),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}
    stolen = await refund(client, charlie, {"id": own.id}, 404, amount=1, payment_id=str(made.payment_id))
    assert stolen["code"] == "payment_not_found"
    items = (await read(client, alice, {"id": order.id}))["order_items"]
    foreign = await refund(client, charlie, {"id": own.id}, 404, lines=[units(items[0])])
    assert foreign["code"] == "item_not_found"
    assert len((await db.scalars(select(Refund))).all()) == 1


async def test_key_when_a_refund_is_sent_again(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    path = f"/api/orders/{order.id}/refunds"
    headers = {**alice.headers, "Idempotency-Key": "once"}
    body = {"amount": 100, "reason": "goodwill", "reference": "VIR 1"}
    first, again = [await client.post(path, headers=headers, json=body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    other = await client.post(path, headers=headers, json={**body, "amount": 200})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await db.scalar(select(Order.amount_refunded)) == 100


async def test_refund_when_the_order_has_two_lines_or_forty(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    costs = []
    for count in (2, 40):
        products = [await make_product(db, owner=alice, price=1000, stock=5) for _ in range(count)]
        order = await make_paid(client, alice, *((product, 1) for product in products))
        await act(client, alice, order, "ship")
        lines = [units(item) for item in order["order_items"]]
        with statements() as seen:
            await refund(client, alice, order, lines=lines, returned=True, restock=True)
        costs.append(len(seen))
    assert costs == [21, 21]
    rows = (await db.execute(select(OrderPayment.amount, OrderPayment.amount_refunded))).all()
    assert all(paid == back for paid, back in rows)
