"""Discount codes in orders: judged when they are redeemed, given back, and never used too often."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock
from app.core.access import Principal
from app.core.database import Database, SystemSession
from app.core.errors import Invalid
from app.core.events import EventOutbox
from app.core.permissions import Permission
from app.models.orders import DiscountRedemption
from app.services.orders.discounts import DiscountService
from tests.areas.test_orders_discounts import PATH, create
from tests.factories.orders import place_order
from tests.factories.pricing import make_discount
from tests.factories.products import make_product
from tests.support.personas import Persona

TERMS: dict[str, dict[str, Any]] = {
    "unknown": {"code": "OTHER"},
    "inactive": {"is_active": False},
    "not_started": {"starts_at": clock.now() + timedelta(days=300)},
    "ended": {"ends_at": clock.now() - timedelta(days=300)},
    "exhausted": {"max_redemptions": 1, "redeemed": 1},
    "minimum_not_reached": {"min_subtotal": 1001, "currency": "EUR"},
    "wrong_currency": {"currency": "USD"},
    "customer_limit": {"max_per_customer": 1},
}


@pytest.mark.parametrize("cause", TERMS)
async def test_redemption_when_the_caller_is_a_program(
    database: Database, db: SystemSession, alice: Persona, client: AsyncClient, cause: str
) -> None:
    """A program gets one and the same answer, so that it cannot learn which codes there are."""
    code = await make_discount(db, owner=alice, **{"code": "TEN", **TERMS[cause]})
    if cause == "customer_limit":
        product = await make_product(db, owner=alice, price=1000)
        await place_order(client, alice, product, discount_code="TEN")
    key = Principal(
        kind="api_key",
        key_id=uuid4(),
        organization_id=alice.organization_id,
        permissions=frozenset({Permission.orders_read, Permission.orders_write}),
    )
    basket: dict[str, Any] = {"subtotal": 1000, "currency": "EUR", "email": "anna@example.test"}
    for verb in ("preview", "redeem"):
        async with database.owner(key) as session:
            with pytest.raises(Invalid) as refused:
                await getattr(DiscountService(session, key), verb)("TEN", **basket)
        problem = refused.value
        said = (problem.code, problem.detail, problem.errors, problem.extensions)
        assert said == (
            "discount_not_applicable",
            "This discount code does not apply to this order.",
            [],
            {},
        )
        async with database.owner(alice.principal) as session:
            with pytest.raises(Invalid) as refused:
                await getattr(DiscountService(session, alice.principal), verb)("TEN", **basket)
        assert [(error.pointer, error.code) for error in refused.value.errors] == [("/discount_code", cause)]
    await db.refresh(code)
    assert code.redeemed == (1 if cause in {"exhausted", "customer_limit"} else 0)


async def test_redemption_when_the_moment_is_a_bound(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """A code holds from its start on, and at its end no more; the minimum itself is enough."""
    now = await db.now()
    await make_discount(db, owner=alice, code="STARTS", starts_at=now)
    await make_discount(db, owner=alice, code="ENDS", ends_at=now)
    await make_discount(db, owner=alice, code="LEAST", min_subtotal=1000, currency="EUR")
    async with database.owner(alice.principal) as session:
        session.info["now"] = now
        service = DiscountService(session, alice.principal)
        basket: dict[str, Any] = {"subtotal": 1000, "currency": "EUR", "email": None}
        for verb in (service.preview, service.redeem):
            assert (await verb("starts", **basket)).code == "STARTS"
            assert (await verb("least", **basket)).code == "LEAST"
            with pytest.raises(Invalid) as refused:
                await verb("ends", **basket)
            assert refused.value.errors[0].code == "ended"


async def test_limit_when_the_buyer_of_an_order_changes(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """What an order redeemed counts for the buyer that it has now."""
    await make_discount(db, owner=alice, code="ONCE", max_per_customer=1)
    product = await make_product(db, owner=alice, price=1000, stock=9)
    order = await place_order(client, alice, product, discount_code="ONCE")
    moved = await client.patch(
        f"/api/orders/{order['id']}", headers=alice.headers, json={"customer": {"email": "bea@example.test"}}
    )
    assert moved.status_code == 200
    redemption = (await db.scalars(select(DiscountRedemption))).one()
    assert redemption.customer_email_canonical == "bea@example.test"
    await place_order(client, alice, product, discount_code="ONCE")
    again = await client.post(
        "/api/orders/quote",
        headers=alice.headers,
        json={
            "items": [{"product_id": str(product.id), "quantity": 1}],
            "customer": {"email": "BEA@example.test"},
            "discount_code": "ONCE",
        },
    )
    assert again.json()["errors"][0]["code"] == "customer_limit"


@pytest.mark.parametrize("prices_include_tax", [True, False])
async def test_order_when_a_code_takes_everything_off(
    client: AsyncClient, db: SystemSession, alice: Persona, prices_include_tax: bool
) -> None:
    """The fourth worked example of the page on money, in both kinds of prices: confirmed and paid at once."""
    await client.patch(
        "/api/orders/settings",
        headers=alice.headers,
        json={"prices_include_tax": prices_include_tax, "default_tax_rate_bps": 1900},
    )
    assert (await create(client, alice, code="ALL", value=10_000, max_redemptions=1)).status_code == 201
    product = await make_product(db, owner=alice, price=13_300, stock=9)
    order = await place_order(client, alice, product, 3, discount_code="all")
    assert (order["subtotal"], order["discount_amount"]) == (39_900, 39_900)
    assert (order["tax_amount"], order["total_amount"], order["amount_paid"]) == (0, 0, 0)
    assert (order["status"], order["payment_status"], order["payment_method"]) == (
        "confirmed",
        "paid",
        "none",
    )
    assert order["reservation_expires_at"] is None
    await db.refresh(product)
    assert (product.stock, product.reserved) == (6, 0)
    told = select(EventOutbox.type).where(EventOutbox.type.startswith("order.")).order_by(EventOutbox.id)
    assert (await db.scalars(told)).all() == ["order.created", "order.paid"]


async def test_code_when_its_use_is_given_back(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    code = await make_discount(db, owner=alice, code="ONE", max_redemptions=1, max_per_customer=1)
    product = await make_product(db, owner=alice, price=1000, stock=9)
    body = {
        "items": [{"product_id": str(product.id), "quantity": 1}],
        "customer": {"email": "anna@example.test"},
        "discount_code": "ONE",
        "payment_method": "manual",
    }
    for verb in ("POST", "DELETE"):
        order = await place_order(client, alice, product, discount_code="ONE")
        refused = await client.post("/api/orders", headers=alice.headers, json=body)
        assert refused.json()["errors"][0]["code"] == "exhausted"
        path = f"/api/orders/{order['id']}"
        ended = await client.request(
            verb, path if verb == "DELETE" else f"{path}/cancel", headers=alice.headers
        )
        assert ended.status_code in {200, 204}
        await client.delete(path, headers=alice.headers)  # Again: it is given back once.
        await db.refresh(code)
        assert code.redeemed == 0
    rows = (await db.scalars(select(DiscountRedemption))).all()
    assert len(rows) == 2
    assert all(row.released_at is not None for row in rows)


@pytest.mark.commits
async def test_code_of_ten_uses_when_fifty_orders_want_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    made = (await create(client, alice, max_redemptions=10)).json()
    product = await make_product(db, owner=alice, price=1000, stock=100)
    body = {
        "items": [{"product_id": str(product.id), "quantity": 1}],
        "customer": {"email": "anna@example.test"},
        "discount_code": "ten",
        "payment_method": "manual",
    }
    answers = await asyncio.gather(
        *(client.post("/api/orders", headers=alice.headers, json=body) for _ in range(50))
    )
    placed = [answer.json() for answer in answers if answer.status_code == 201]
    refused = [answer.json() for answer in answers if answer.status_code == 422]
    assert (len(placed), len(refused)) == (10, 40)
    assert {order["total_amount"] for order in placed} == {900}
    assert {problem["errors"][0]["code"] for problem in refused} == {"exhausted"}
    assert (await client.get(f"{PATH}/{made['id']}", headers=alice.headers)).json()["redeemed"] == 10
    assert len((await db.scalars(select(DiscountRedemption))).all()) == 10
    await db.refresh(product)
    assert product.reserved == 10


@pytest.mark.commits
async def test_code_when_it_is_deleted_and_redeemed_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Either the order came first and the code is switched off, or it finds no code any more."""
    product = await make_product(db, owner=alice, price=1000, stock=100)
    body = {
        "items": [{"product_id": str(product.id), "quantity": 1}],
        "customer": {"email": "anna@example.test"},
        "payment_method": "manual",
    }
    for n in range(8):
        made = (await create(client, alice, code=f"CODE-{n}")).json()
        order, deleted = await asyncio.gather(
            client.post("/api/orders", headers=alice.headers, json={**body, "discount_code": f"CODE-{n}"}),
            client.delete(f"{PATH}/{made['id']}", headers=alice.headers),
        )
        assert deleted.status_code == 204
        left = await client.get(f"{PATH}/{made['id']}", headers=alice.headers)
        if order.status_code == 201:
            assert (left.json()["is_active"], left.json()["redeemed"]) == (False, 1)
        else:
            assert (order.status_code, order.json()["errors"][0]["code"]) == (422, "unknown")
            assert left.status_code == 404
