"""Orders under parallel requests, with real commits: nothing is sold twice, lost, doubled or half done."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.billing import DocumentCounter
from app.models.orders import DiscountCode, Order, OrderItem, OrderStatusHistory
from app.models.products import Product, StockMovement, StockReservation
from tests.areas.test_orders_pricing import make_code
from tests.factories.billing import grant_plan
from tests.factories.orders import order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona

pytestmark = pytest.mark.commits


async def send_all(
    client: AsyncClient, persona: Persona, bodies: list[dict[str, Any]], **headers: str
) -> list[Response]:
    """Place all these orders at the same time."""
    return await asyncio.gather(
        *(client.post("/api/orders", headers={**persona.headers, **headers}, json=body) for body in bodies)
    )


def outcomes(answers: list[Response]) -> Counter[tuple[int, str | None]]:
    """How often each status and code was answered."""
    return Counter((answer.status_code, answer.json().get("code")) for answer in answers)


async def reserved(db: SystemSession) -> dict[str, int]:
    """What is held of each product, by name."""
    rows = await db.execute(select(Product.name, Product.reserved))
    return dict(rows.all())


async def test_last_piece_when_fifty_want_it(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, stock=1)
    answers = await send_all(client, alice, [order_body((product, 1))] * 50)
    assert outcomes(answers) == {(201, None): 1, (409, "insufficient_stock"): 49}
    assert await reserved(db) == {"Bag": 1}
    assert await db.scalar(select(func.count()).select_from(Order)) == 1
    assert await db.scalar(select(func.count()).select_from(StockMovement)) == 1
    assert await db.scalar(select(DocumentCounter.last_value)) == 1


async def test_baskets_when_sixty_cross_each_other(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await grant_plan(db, alice.organization_id, "enterprise")
    products = [await make_product(db, owner=alice, name=f"P{n}", stock=1000) for n in range(8)]
    dice = random.Random(7)
    baskets = [dice.sample(products, 5) for _ in range(60)]
    answers = await send_all(
        client, alice, [order_body(*((product, 1) for product in basket)) for basket in baskets]
    )
    assert outcomes(answers) == {(201, None): 60}
    wanted = Counter(product.name for basket in baskets for product in basket)
    assert await reserved(db) == wanted
    held = await db.execute(
        select(Product.name, func.sum(StockReservation.quantity))
        .join(Product, Product.id == StockReservation.product_id)
        .group_by(Product.name)
    )
    assert dict(held.all()) == wanted
    numbers = sorted(answer.json()["order_number"][-6:] for answer in answers)
    assert numbers == [f"{n:06d}" for n in range(1, 61)]


async def test_numbers_when_some_orders_are_refused(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A refusal comes before the number is taken, or gives it back: there are no gaps."""
    await grant_plan(db, alice.organization_id, "enterprise")
    plenty = await make_product(db, owner=alice, name="Plenty", stock=1000, price=1000)
    few = await make_product(db, owner=alice, name="Few", stock=4)
    bodies = [
        *[order_body((plenty, 1)) for _ in range(20)],
        *[order_body((plenty, 1), (few, 1)) for _ in range(10)],
        *[order_body((plenty, 1), expected_total=1) for _ in range(10)],
        *[order_body((plenty, 1), metadata={"a": [1e300] * 100}) for _ in range(10)],
    ]
    random.Random(11).shuffle(bodies)
    answers = await send_all(client, alice, bodies)
    assert outcomes(answers) == {
        (201, None): 24,
        (409, "insufficient_stock"): 6,
        (409, "price_changed"): 10,
        (422, "metadata_too_large"): 10,
    }
    numbers = sorted(answer.json()["order_number"][-6:] for answer in answers if answer.status_code == 201)
    assert numbers == [f"{n:06d}" for n in range(1, 25)]
    assert await reserved(db) == {"Plenty": 24, "Few": 4}
    assert await db.scalar(select(func.count()).select_from(OrderItem)) == 28


async def test_key_when_it_is_sent_fifty_times(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, stock=100)
    body = order_body((product, 1))
    answers = await send_all(client, alice, [body] * 50, **{"Idempotency-Key": "once"})
    found = outcomes(answers)
    assert found[(201, None)] >= 1
    assert set(found) <= {(201, None), (409, "idempotency_in_progress")}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    again = (await send_all(client, alice, [body], **{"Idempotency-Key": "once"}))[0]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.status_code == 201
    assert await db.scalar(select(func.count()).select_from(Order)) == 1
    assert await reserved(db) == {"Bag": 1}
    events = await db.scalars(select(EventOutbox.type).where(EventOutbox.type == "order.created"))
    assert len(events.all()) == 1


async def test_code_when_the_last_redemption_is_raced_for(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_code(db, alice, max_redemptions=3)
    once = await make_code(db, alice, code="ONCE", max_per_customer=1)
    product = await make_product(db, owner=alice, price=1000, stock=100)
    for code, left, cause in (("TEN", 3, "exhausted"), ("ONCE", 1, "customer_limit")):
        answers = await send_all(client, alice, [order_body((product, 1), discount_code=code)] * 12)
        assert outcomes(answers) == {(201, None): left, (422, "discount_not_applicable"): 12 - left}
        refused = [answer.json()["errors"][0]["code"] for answer in answers if answer.status_code == 422]
        assert set(refused) == {cause}
    rows = await db.execute(select(DiscountCode.code, DiscountCode.redeemed))
    assert dict(rows.all()) == {"TEN": 3, "ONCE": 1}
    assert once.max_per_customer == 1


async def test_pending_order_when_payment_and_cancelling_race(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Whoever comes first: the order is cancelled, and no money of the buyer's stays."""
    product = await make_product(db, owner=alice, price=1000, stock=100)
    for _ in range(8):
        order = await place_order(client, alice, product)
        path = f"/api/orders/{order['id']}"
        paid, cancelled = await asyncio.gather(
            client.post(f"{path}/mark-paid", headers=alice.headers, json={"method": "cash", "amount": 1000}),
            client.post(f"{path}/cancel", headers=alice.headers, json={}),
        )
        assert cancelled.status_code == 200
        told = cancelled.json()
        was_paid = paid.status_code == 200
        assert was_paid or (paid.status_code, paid.json()["code"]) == (409, "invalid_transition")
        assert (told["amount_paid"], told["amount_refunded"]) == ((1000, 1000) if was_paid else (0, 0))
    row = (await db.execute(select(Product.stock, Product.reserved))).one()
    cancelled_count = await db.scalar(
        select(func.count()).select_from(Order).where(Order.status == "cancelled")
    )
    assert (row.stock, row.reserved, cancelled_count) == (100, 0, 8)


async def test_free_order_when_shipping_and_cancelling_race(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=0, stock=100)
    for _ in range(8):
        order = await place_order(client, alice, product)
        path = f"/api/orders/{order['id']}"
        shipped, cancelled = await asyncio.gather(
            client.post(f"{path}/ship", headers=alice.headers, json={}),
            client.post(f"{path}/cancel", headers=alice.headers, json={}),
        )
        assert sorted((shipped.status_code, cancelled.status_code)) == [200, 409]
        loser = shipped if shipped.status_code == 409 else cancelled
        assert loser.json()["code"] == "invalid_transition"
    gone = await db.scalar(select(func.count()).select_from(Order).where(Order.status == "shipped"))
    assert await db.scalar(select(Product.stock)) == 100 - (gone or 0)


async def test_act_when_it_is_repeated_at_the_same_time(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=0, stock=5)
    order = await place_order(client, alice, product)
    path = f"/api/orders/{order['id']}/process"
    answers = await asyncio.gather(*(client.post(path, headers=alice.headers) for _ in range(10)))
    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, 2)}
    made = select(func.count()).select_from(OrderStatusHistory)
    assert await db.scalar(made.where(OrderStatusHistory.to_value == "processing")) == 1


async def test_settings_when_the_first_orders_come_together(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, stock=50)
    answers = await send_all(client, alice, [order_body((product, 1))] * 10)
    assert outcomes(answers) == {(201, None): 10}


async def test_products_when_orders_are_placed_paid_and_cancelled_across_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Every act locks its products in one order, so that no two ever wait for each other."""
    await grant_plan(db, alice.organization_id, "enterprise")
    choice = random.Random(8)
    products = [await make_product(db, owner=alice, price=1000, stock=10_000) for _ in range(8)]

    async def one_life(_: int) -> list[int]:
        lines = [(product, 1) for product in choice.sample(products, 6)]
        placed = await client.post("/api/orders", headers=alice.headers, json=order_body(*lines))
        order = placed.json()
        assert placed.status_code == 201, order
        path = f"/api/orders/{order['id']}"
        if choice.random() < 0.5:
            done = await client.post(f"{path}/cancel", headers=alice.headers, json={})
            return [placed.status_code, done.status_code]
        body = {"method": "cash", "amount": order["total_amount"]}
        paid = await client.post(f"{path}/mark-paid", headers=alice.headers, json=body)
        back = {"refund": "full", "reference": "VIR 1", "reason": "test"}
        done = await client.post(f"{path}/cancel", headers=alice.headers, json=back)
        return [placed.status_code, paid.status_code, done.status_code]

    for _ in range(2):
        lives = await asyncio.gather(*(one_life(number) for number in range(24)))
        assert Counter(status for life in lives for status in life).keys() <= {200, 201}, lives
