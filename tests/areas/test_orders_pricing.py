"""What an order's price is made from: tax rates, shipping rates, discount codes and settings."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.orders import DiscountCode, DiscountRedemption, Order, OrderSettings, ShippingRate, TaxRate
from app.services.orders.events import MAX_ITEM_BYTES, OrderPlaced, order_event
from tests.factories.orders import ADDRESS, make_order, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague


async def make_code(db: SystemSession, owner: Persona, **columns: Any) -> DiscountCode:
    """A discount code of 10 % named TEN, unless `columns` say otherwise."""
    values = {"code": "TEN", "kind": "percent", "value": 1000, **columns}
    code = DiscountCode(organization_id=owner.organization_id, id=uuid7(), **values)
    db.add(code)
    await db.commit()
    return code


async def quote(
    client: AsyncClient, persona: Persona, body: dict[str, Any], expect: int = 200
) -> dict[str, Any]:
    answer = await client.post("/api/orders/quote", headers=persona.headers, json=body)
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def add_rates(db: SystemSession, owner: Persona) -> None:
    """French taxes with one region, and a way of shipping that is free from 50 euros."""
    organization_id = owner.organization_id
    rates = [("FR", "", "standard", 2000), ("FR", "", "food", 550), ("FR", "Corse", "food", 210)]
    for country, region, category, bps in rates:
        db.add(
            TaxRate(
                organization_id=organization_id,
                country=country,
                region=region,
                tax_category=category,
                rate_bps=bps,
            )
        )
    db.add(
        ShippingRate(
            organization_id=organization_id,
            code="home",
            name="Home",
            countries=["FR", "BE"],
            amount=590,
            free_from=5000,
            currency="EUR",
        )
    )
    await db.commit()


async def test_example_when_two_rates_a_code_and_shipping_meet(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The second worked example of the page on money, but for shipping, which is never free here."""
    await add_rates(db, alice)
    rate = (await db.scalars(select(ShippingRate))).one()
    rate.free_from = None
    await make_code(db, alice, kind="fixed", value=1000, currency="EUR")
    bag, jam, pen = [
        await make_product(db, owner=alice, price=price, tax_category=category, stock=10)
        for price, category in ((12345, "standard"), (2990, "food"), (999, "standard"))
    ]
    body = order_body((bag, 1), (jam, 3), (pen, 2), shipping_code="home", discount_code="ten")
    quoted = await quote(client, alice, body)
    answer = await client.post("/api/orders", headers=alice.headers, json={**body, "expected_total": 22903})
    order = answer.json()
    assert answer.status_code == 201
    assert quoted["pricing"] == order["pricing"]
    assert [
        (item["discount_amount"], item["tax_rate_bps"], item["tax_amount"], item["total_amount"])
        for item in order["order_items"]
    ] == [(529, 2000, 1969, 11816), (385, 550, 448, 8585), (86, 2000, 319, 1912)]
    assert (order["shipping_amount"], order["shipping_tax_amount"], order["tax_amount"]) == (590, 98, 2834)
    assert (order["discount_code"], order["discount_amount"]) == ("TEN", 1000)
    redemption = (await db.scalars(select(DiscountRedemption))).one()
    assert (str(redemption.order_id), redemption.amount) == (order["id"], 1000)
    assert redemption.customer_email_canonical == "anna@example.test"


PLACES: list[tuple[dict[str, Any], int]] = [
    ({"shipping_address": {**ADDRESS, "region": "Corse"}}, 210),
    ({"shipping_address": {**ADDRESS, "region": "Nord"}}, 550),
    ({"shipping_address": None, "billing_address": {**ADDRESS, "region": "Corse"}}, 210),
    ({"shipping_address": {**ADDRESS, "country": "DE"}}, 1900),
    ({"shipping_address": None}, 210),
]


@pytest.mark.parametrize(("addresses", "expected"), PLACES)
async def test_tax_when_the_place_differs(
    client: AsyncClient, db: SystemSession, alice: Persona, addresses: dict[str, Any], expected: int
) -> None:
    await add_rates(db, alice)
    db.add(
        OrderSettings(
            organization_id=alice.organization_id,
            default_tax_rate_bps=1900,
            seller={"country": "FR", "region": "Corse"},
        )
    )
    await db.commit()
    jam = await make_product(db, owner=alice, tax_category="food")
    told = await quote(client, alice, order_body((jam, 1), **addresses))
    assert told["pricing"]["lines"][0]["tax_rate_bps"] == expected


async def test_tax_when_there_are_no_rates(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1200)
    told = await quote(client, alice, order_body((product, 1), shipping_address=None))
    assert told["pricing"]["tax_groups"] == [
        {"rate_bps": 2000, "net_amount": 1000, "tax_amount": 200, "gross_amount": 1200}
    ]


async def test_prices_when_they_exclude_tax(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    db.add(
        OrderSettings(organization_id=alice.organization_id, prices_include_tax=False, number_prefix="LUX")
    )
    await db.commit()
    product = await make_product(db, owner=alice, price=1000)
    order = await place_order(client, alice, product, 3)
    assert (order["subtotal"], order["tax_amount"], order["total_amount"]) == (3000, 600, 3600)
    assert order["order_number"].startswith("LUX-")


async def test_shipping_when_it_is_not_available(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    await add_rates(db, alice)
    product = await make_product(db, owner=alice, price=1000)
    dollar = await make_product(db, owner=alice, price=1000, currency="USD")
    told = await quote(client, alice, order_body((product, 1), shipping_code="home"))
    assert told["pricing"]["shipping"]["amount"] == 590
    told = await quote(client, alice, order_body((product, 5), shipping_code="home"))
    assert told["pricing"]["shipping"]["amount"] == 0
    wrong = [
        order_body((product, 1), shipping_code="other"),
        order_body((dollar, 1), shipping_code="home"),
        order_body((product, 1), shipping_code="home", shipping_address={**ADDRESS, "country": "DE"}),
        order_body((product, 1), shipping_code="home", shipping_address=None),
    ]
    for body in wrong:
        problem = await quote(client, alice, body, 422)
        assert (problem["code"], problem["errors"][0]["pointer"]) == (
            "shipping_not_available",
            "/shipping_code",
        )
    own = await make_product(db, owner=charlie)
    assert (await quote(client, charlie, order_body((own, 1), shipping_code="home"), 422))["code"]


CAUSES: list[tuple[dict[str, Any], str]] = [
    ({"code": "OTHER"}, "unknown"),
    ({"is_active": False}, "inactive"),
    ({"starts_at": clock.now() + timedelta(days=300)}, "not_started"),
    ({"ends_at": clock.now() - timedelta(days=1)}, "ended"),
    ({"max_redemptions": 1, "redeemed": 1}, "exhausted"),
    ({"min_subtotal": 1001, "currency": "EUR"}, "minimum_not_reached"),
    ({"currency": "USD"}, "wrong_currency"),
]


@pytest.mark.parametrize(("columns", "cause"), CAUSES, ids=[cause for _, cause in CAUSES])
async def test_code_when_it_does_not_apply(
    client: AsyncClient, db: SystemSession, alice: Persona, columns: dict[str, Any], cause: str
) -> None:
    await make_code(db, alice, **columns)
    product = await make_product(db, owner=alice, price=1000, stock=5)
    body = order_body((product, 1), discount_code="TEN")
    for path in ("", "/quote"):
        answer = await client.post(f"/api/orders{path}", headers=alice.headers, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "discount_not_applicable")
        assert [error["code"] for error in answer.json()["errors"]] == [cause]
    viewer = await make_colleague(db, alice, "eve")
    assert (await quote(client, viewer, body, 422))["errors"] == []
    await db.refresh(product)
    assert product.reserved == 0


async def test_code_when_the_buyer_used_it_up(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    code = await make_code(db, alice, max_per_customer=1)
    product = await make_product(db, owner=alice, price=1000, stock=9)
    body = order_body((product, 1), discount_code="TEN")
    first = await client.post("/api/orders", headers=alice.headers, json=body)
    assert first.json()["total_amount"] == 900
    again = await client.post("/api/orders", headers=alice.headers, json=body)
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "customer_limit")
    other = {**body, "customer": {"email": "bea@example.test"}}
    assert (await client.post("/api/orders", headers=alice.headers, json=other)).status_code == 201
    await db.refresh(code)
    assert code.redeemed == 2

    path = f"/api/orders/{first.json()['id']}"
    edited = await client.patch(
        path,
        headers=alice.headers,
        json={"items": [{"product_id": str(product.id), "quantity": 3}], "version": 1},
    )
    assert (edited.json()["discount_amount"], edited.json()["discount_code"]) == (300, "TEN")
    assert (await client.post(f"{path}/cancel", headers=alice.headers)).status_code == 200
    await db.refresh(code)
    assert code.redeemed == 1
    assert (await client.post("/api/orders", headers=alice.headers, json=body)).status_code == 201


async def test_code_when_it_is_taken_off(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    code = await make_code(db, alice)
    product = await make_product(db, owner=alice, price=1000, stock=9)
    order = await place_order(client, alice, product, discount_code="TEN")
    edited = await client.patch(
        f"/api/orders/{order['id']}", headers=alice.headers, json={"discount_code": None, "version": 1}
    )
    assert (edited.json()["total_amount"], edited.json()["discount_code"]) == (1000, None)
    await db.refresh(code)
    assert code.redeemed == 0


async def test_draft_when_it_has_a_code(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    code = await make_code(db, alice)
    product = await make_product(db, owner=alice, price=1000, stock=9)
    draft = await place_order(client, alice, product, discount_code="TEN", status="draft")
    assert draft["total_amount"] == 900
    await db.refresh(code)
    assert code.redeemed == 0
    placed = await client.post(f"/api/orders/{draft['id']}/submit", headers=alice.headers)
    assert placed.json()["total_amount"] == 900
    await db.refresh(code)
    assert code.redeemed == 1


async def test_quote_when_pieces_are_short(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    few = await make_product(db, owner=alice, stock=2)
    later = await make_product(db, owner=alice, stock=0, allow_backorder=True)
    endless = await make_product(db, owner=alice, track_inventory=False)
    told = await quote(client, alice, order_body((few, 2), (few, 1), (later, 1), (endless, 7)))
    assert told["availability"] == [
        {"product_id": str(few.id), "requested": 3, "available": 2, "is_available": False},
        {"product_id": str(later.id), "requested": 1, "available": 0, "is_available": True},
        {"product_id": str(endless.id), "requested": 7, "available": None, "is_available": True},
    ]
    assert (await db.scalars(select(Order))).all() == []


async def test_event_when_an_order_has_very_many_lines(db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice)
    items = [
        {"id": uuid7(), "product_id": uuid7(), "sku": "S" * 64, "name": "🎁" * 200, "quantity": 1}
        for _ in range(200)
    ]
    event = order_event(OrderPlaced, order, items)
    assert event.items_count == 200
    assert 0 < len(event.items) < 200
    assert len(str(event.data())) < 2 * MAX_ITEM_BYTES
