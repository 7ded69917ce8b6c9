"""Orders that are not paid in time: what they give back, and what a payment after that can still do."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select, text, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.jobs.orders import expire_order, expire_unpaid_orders
from app.models.orders import DiscountCode, Order, OrderItem, OrderPayment, OrderSettings
from app.models.products import Product, StockMovement, StockReservation
from app.repositories.orders.due import find_due
from app.services.orders.expiry import AT_ONCE
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import make_order, place_order
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague

WAITING = text("SELECT queueing_lock FROM procrastinate_jobs WHERE task_name = 'orders.expire_order'")


def later(**delta: float) -> Any:
    """As if so much time had gone by; a manual payment is waited for during a week."""
    return clock.travel(timedelta(**(delta or {"hours": 169})))


async def run_expiry(database: Database) -> None:
    """One sweep and the jobs that it asks for."""
    await expire_unpaid_orders(database)
    await handle_events(database)


async def stock_of(db: SystemSession, product: Product) -> tuple[int, int]:
    await db.refresh(product)
    return product.stock, product.reserved


async def read(client: AsyncClient, persona: Persona, order_id: Any) -> dict[str, Any]:
    answer = await client.get(f"/api/orders/{order_id}", headers=persona.headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def pay(client: AsyncClient, persona: Persona, order: Any, amount: int = 1000) -> Response:
    body = {"method": "cash", "amount": amount}
    return await client.post(f"/api/orders/{order}/mark-paid", headers=persona.headers, json=body)


async def expired(
    client: AsyncClient, database: Database, alice: Persona, product: Product, quantity: int = 1
) -> dict[str, Any]:
    """An order that has expired: placed, and a week later swept up."""
    order = await place_order(client, alice, product, quantity)
    with later():
        await run_expiry(database)
    return await read(client, alice, order["id"])


async def test_order_when_nobody_pays_in_time(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    code = await make_code(db, alice)
    order = await place_order(client, alice, product, 3, discount_code=code.code)
    assert await stock_of(db, product) == (5, 3)
    with later(hours=167):
        await run_expiry(database)
    assert (await read(client, alice, order["id"]))["status"] == "pending"
    with later():
        await run_expiry(database)
    told = await read(client, alice, order["id"])
    assert (told["status"], told["payment_status"]) == ("expired", "unpaid")
    assert told["reservation_expires_at"] is None
    assert told["available_transitions"] == ["confirmed", "cancelled"]
    step = told["history"][-1]
    assert (step["to_value"], step["actor_type"], step["actor_id"]) == ("expired", "system", "expire_order")
    assert step["reason"] == "not paid in time"
    assert await stock_of(db, product) == (5, 0)
    assert await db.scalar(select(DiscountCode.redeemed).execution_options(populate_existing=True)) == 0
    released = await db.execute(select(StockMovement.actor_type, StockMovement.reason))
    assert ("system", "release") in released.all()


async def test_expiry_when_it_is_told(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice)
    order = await place_order(client, alice, product)
    with later():
        await expire_order(
            database, organization_id=str(alice.organization_id), order_id=str(UUID(order["id"]))
        )
    told = await db.execute(
        select(EventOutbox.organization_id, EventOutbox.actor_type, EventOutbox.is_webhook).where(
            EventOutbox.type == "order.expired"
        )
    )
    assert told.all() == [(alice.organization_id, "system", True)]


NOT_DUE: list[dict[str, Any]] = [
    {"status": "confirmed"},
    {"status": "cancelled"},
    {"payment_status": "pending"},
    {"payment_status": "authorized"},
    {"hold_reason": "manual"},
    {"reservation_expires_at": None},
]


@pytest.mark.parametrize("columns", NOT_DUE, ids=str)
async def test_job_when_the_order_is_not_due_any_more(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, columns: dict[str, Any]
) -> None:
    """The sweep passes it over; a job that was queued before looks again and leaves it alone."""
    past = clock.now() - timedelta(minutes=1)
    order = await make_order(db, owner=alice, **{"reservation_expires_at": past, **columns})
    status, version = order.status, order.version
    assert await find_due(db, clock.now(), 10) == []
    await expire_order(database, organization_id=str(alice.organization_id), order_id=str(order.id))
    await db.refresh(order)
    assert (order.status, order.version) == (status, version)


async def test_job_when_the_order_is_gone_or_a_strangers(
    db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    past = clock.now() - timedelta(minutes=1)
    order = await make_order(db, owner=alice, reservation_expires_at=past)
    await expire_order(database, organization_id=str(charlie.organization_id), order_id=str(order.id))
    await expire_order(database, organization_id=str(alice.organization_id), order_id=str(uuid7()))
    await db.refresh(order)
    assert order.status == "pending"


async def test_sweep_when_more_orders_are_due_than_it_takes(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    """At most so many at once, those due for longest first, and never two jobs for one order."""
    now = clock.now()
    template = await make_order(db, owner=alice, reservation_expires_at=now - timedelta(hours=1))
    columns = {name: getattr(template, name) for name in ("organization_id", "currency", "subtotal")}
    columns |= {"total_amount": template.total_amount, "prices_include_tax": True, "placed_at": now}
    columns |= {"tax_amount": template.tax_amount}
    db.add_all(
        Order(
            id=uuid7(),
            order_number=f"DUE-2026-{n:06d}",
            reservation_expires_at=now - timedelta(minutes=59) + timedelta(milliseconds=n),
            **columns,
        )
        for n in range(AT_ONCE + 4)
    )
    await db.commit()
    await expire_unpaid_orders(database)
    await expire_unpaid_orders(database)
    waiting = (await db.scalars(WAITING)).all()
    assert len(waiting) == AT_ONCE
    assert f"order-expire:{template.id}" in waiting
    await handle_events(database)
    await run_expiry(database)
    left = select(func.count()).select_from(Order).where(Order.status == "pending")
    assert await db.scalar(left) == 0


async def test_late_payment_when_the_stock_is_still_there(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=500, stock=5)
    code = await make_code(db, alice, code="LATE")
    order = await place_order(client, alice, product, 3, discount_code=code.code)
    with later():
        await run_expiry(database)
    answer = await pay(client, alice, order["id"], order["total_amount"])
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["status"], told["payment_status"], told["hold_reason"]) == ("confirmed", "paid", None)
    assert (told["amount_paid"], len(told["payments"])) == (order["total_amount"], 1)
    assert await stock_of(db, product) == (2, 0)
    await db.refresh(code)
    assert code.redeemed == 0, "a code that was given back stays so"


async def test_late_payment_when_the_stock_is_gone_and_money_would_be_refunded(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=2)
    order = await expired(client, database, alice, product, 2)
    await place_order(client, alice, product, 1)
    answer = await pay(client, alice, order["id"], 2000)
    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
    assert answer.json()["short"] == [{"product_id": str(product.id), "requested": 2, "available": 1}]
    assert (await read(client, alice, order["id"]))["status"] == "expired"
    assert await db.scalar(select(func.count()).select_from(OrderPayment)) == 0
    assert await stock_of(db, product) == (2, 1)


async def test_late_payment_when_the_stock_is_gone_and_may_follow(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=2)
    order = await expired(client, database, alice, product, 2)
    await place_order(client, alice, product, 1)
    await db.execute(update(OrderSettings).values(oversold_policy="backorder"))
    await db.commit()
    answer = await pay(client, alice, order["id"], 2000)
    told = answer.json()
    assert (told["status"], told["payment_status"], told["hold_reason"]) == ("confirmed", "paid", "oversold")
    assert await stock_of(db, product) == (2, 1)
    kinds = (await db.scalars(select(EventOutbox.type).order_by(EventOutbox.id.desc()).limit(2))).all()
    assert sorted(kinds) == ["order.oversold", "order.paid"]
    path = f"/api/orders/{order['id']}"
    held = await client.post(f"{path}/ship", headers=alice.headers, json={})
    assert held.json()["code"] == "order_on_hold"
    release = {"reason": "New stock came in"}
    short = await client.post(f"{path}/release-hold", headers=alice.headers, json=release)
    assert (short.status_code, short.json()["code"]) == (409, "insufficient_stock")
    refill = {"delta": 1, "reason": "Delivery"}
    await client.patch(f"/api/products/{product.id}/stock", headers=alice.headers, json=refill)
    freed = await client.post(f"{path}/release-hold", headers=alice.headers, json=release)
    assert (freed.status_code, freed.json()["hold_reason"]) == (200, None)
    assert await stock_of(db, product) == (1, 1)
    assert (await client.post(f"{path}/ship", headers=alice.headers, json={})).status_code == 200


async def test_pieces_of_an_oversold_order_when_it_is_refunded_before_it_has_them(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """Nothing goes back on the shelf that was never taken off it, and nothing is lost once it was taken."""
    product = await make_product(db, owner=alice, price=1000, stock=3)
    order = await expired(client, database, alice, product, 3)
    rival = await place_order(client, alice, product, 3)
    await db.execute(update(OrderSettings).values(oversold_policy="backorder"))
    await db.commit()
    paid = (await pay(client, alice, order["id"], 3000)).json()
    line = {"item_id": paid["order_items"][0]["id"], "quantity": 1}
    path, books = f"/api/orders/{order['id']}", {"reference": "VIR 7"}
    body = {"lines": [line], "restock": True, "reason": "other", **books}
    refund = await client.post(f"{path}/refunds", headers=alice.headers, json=body)
    assert (refund.status_code, refund.json()["restock"]) == (201, False)
    assert (await read(client, alice, order["id"]))["order_items"][0]["restocked_quantity"] == 0
    await client.post(f"/api/orders/{rival['id']}/cancel", headers=alice.headers, json={})
    await client.post(f"{path}/release-hold", headers=alice.headers, json={"reason": "They are here."})
    assert await stock_of(db, product) == (0, 0)
    await client.post(f"{path}/cancel", headers=alice.headers, json=books)
    assert await stock_of(db, product) == (3, 0)


async def test_pieces_of_an_oversold_order_when_it_is_cancelled(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=2)
    order = await expired(client, database, alice, product, 2)
    await place_order(client, alice, product, 1)
    await db.execute(update(OrderSettings).values(oversold_policy="backorder"))
    await db.commit()
    await pay(client, alice, order["id"], 2000)
    body = {"restock": True, "reference": "VIR 8"}
    answer = await client.post(f"/api/orders/{order['id']}/cancel", headers=alice.headers, json=body)
    told = answer.json()
    assert (told["status"], told["refunds"][0]["restock"]) == ("cancelled", False)
    assert told["order_items"][0]["restocked_quantity"] == 0
    assert await stock_of(db, product) == (2, 1)


@pytest.mark.parametrize(
    ("columns", "amount", "status", "code"),
    [
        ({}, 999, 422, "amount_mismatch"),
        ({"payment_status": "refunded"}, 1000, 409, "invalid_transition"),
        ({"payment_status": "pending"}, 1000, 409, "payment_in_progress"),
    ],
)
async def test_late_payment_when_it_does_not_fit(
    client: AsyncClient, db: SystemSession, alice: Persona, columns: Any, amount: int, status: int, code: str
) -> None:
    order = await make_order(db, owner=alice, status="expired", **columns)
    answer = await pay(client, alice, order.id, amount)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


PAIRS = 200
PRODUCTS = 10


async def due_orders(db: SystemSession, owner: Persona) -> list[UUID]:
    """So many orders that are due, each holding one piece of one of a few products."""
    products = [
        await make_product(db, owner=owner, price=1000, stock=PAIRS, reserved=PAIRS // PRODUCTS)
        for _ in range(PRODUCTS)
    ]
    now = clock.now()
    whose = {"organization_id": owner.organization_id}
    orders = [
        Order(
            **whose,
            id=uuid7(),
            order_number=f"ORD-2026-{n:06d}",
            currency="EUR",
            prices_include_tax=True,
            subtotal=1000,
            total_amount=1000,
            payment_method="manual",
            placed_at=now,
            reservation_expires_at=now - timedelta(seconds=1),
        )
        for n in range(PAIRS)
    ]
    db.add_all(orders)
    await db.flush()
    for n, order in enumerate(orders):
        product = products[n % PRODUCTS]
        line = {"product_id": product.id, "name": "Bag", "product_snapshot": {}, "unit_price": 1000}
        held = {"product_id": product.id, "quantity": 1}
        db.add(
            OrderItem(
                **whose, id=uuid7(), order_id=order.id, position=0, quantity=1, total_amount=1000, **line
            )
        )
        db.add(StockReservation(**whose, order_id=order.id, **held))
    await db.commit()
    return [order.id for order in orders]


@pytest.mark.slow
@pytest.mark.commits
async def test_two_hundred_orders_when_expiry_and_payment_are_fired_together(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """Whichever comes first, each order ends paid, its piece is taken once, and nothing stays held."""
    cashiers = [await make_colleague(db, alice, f"cashier{n}", role="admin") for n in range(2)]
    orders = await due_orders(db, alice)
    room = asyncio.Semaphore(8)

    async def expire(order_id: UUID) -> None:
        await expire_order(database, organization_id=str(alice.organization_id), order_id=str(order_id))

    async def fire(n: int, order_id: UUID) -> tuple[int, str]:
        async with room:
            # Two of ten go one after the other, so that both orders of events are seen on any machine; the
            # others start at distances that let either reach the order's lock first.
            lead = (n % 10 - 2) * 0.001
            if n % 10 == 0:
                await expire(order_id)
                answer = await pay(client, cashiers[n % 2], order_id)
            elif n % 10 == 1:
                answer = await pay(client, cashiers[n % 2], order_id)
                await expire(order_id)
            else:
                expiry = asyncio.create_task(expire(order_id))
                await asyncio.sleep(lead)
                answer = await pay(client, cashiers[n % 2], order_id)
                await expiry
            return answer.status_code, answer.json().get("code", "")

    outcomes = await asyncio.gather(*(fire(n, order_id) for n, order_id in enumerate(orders)))
    assert set(outcomes) == {(200, "")}
    states = await db.execute(
        select(Order.status, Order.payment_status, Order.hold_reason, func.count()).group_by(
            Order.status, Order.payment_status, Order.hold_reason
        )
    )
    assert states.all() == [("confirmed", "paid", None, PAIRS)]
    assert await db.scalar(select(func.count()).select_from(OrderPayment)) == PAIRS
    assert await db.scalar(select(func.sum(Product.stock))) == PAIRS * PRODUCTS - PAIRS
    assert await db.scalar(select(func.sum(Product.reserved))) == 0
    closed = await db.scalars(select(StockReservation.status).distinct())
    assert closed.all() == ["committed"]
    moved = await db.execute(
        select(func.sum(StockMovement.delta_stock), func.sum(StockMovement.delta_reserved))
    )
    assert moved.one() == (-PAIRS, -PAIRS)
    gone = select(func.count()).select_from(EventOutbox).where(EventOutbox.type == "order.expired")
    was_expired = await db.scalar(gone) or 0
    assert 0 < was_expired < PAIRS, "both orders of events were seen"
