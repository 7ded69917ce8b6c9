"""Refunds under parallel requests, with real commits: no payment gives back more than it holds."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.orders import Order, OrderPayment, OrderStatusHistory, Refund
from app.models.products import Product, StockMovement
from tests.areas.test_orders_refunds import make_paid, read, units
from tests.factories.products import make_product
from tests.support.personas import Persona

pytestmark = pytest.mark.commits


async def refund_all(
    client: AsyncClient, persona: Persona, order: dict[str, Any], count: int, **body: Any
) -> list[Response]:
    """Ask so many times at once for the same refund."""
    sent = {"reason": "other", "reference": "VIR 7", **body}
    path = f"/api/orders/{order['id']}/refunds"
    return await asyncio.gather(
        *(client.post(path, headers=persona.headers, json=sent) for _ in range(count))
    )


def outcomes(answers: list[Response]) -> Counter[tuple[int, str | None]]:
    """How often each status and code was answered."""
    return Counter((answer.status_code, answer.json().get("code")) for answer in answers)


async def test_payment_when_twenty_refunds_race_for_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The ninth worked example of the page on money: two of twenty find enough left."""
    product = await make_product(db, owner=alice, price=12345, stock=5)
    order = await make_paid(client, alice, (product, 1))
    answers = await refund_all(client, alice, order, 20, amount=5000)
    assert outcomes(answers) == {(201, None): 2, (422, "refund_exceeds_paid"): 18}
    refused = [answer.json() for answer in answers if answer.status_code == 422]
    assert {problem["refundable"] for problem in refused} == {2345}
    after = await read(client, alice, order)
    assert (after["amount_refunded"], after["amount_refund_pending"]) == (10000, 0)
    assert (after["payment_status"], after["version"]) == ("partially_refunded", 4)
    paid = (await db.execute(select(OrderPayment.amount_refunded, OrderPayment.amount_refund_pending))).one()
    assert tuple(paid) == (10000, 0)
    rest = await refund_all(client, alice, order, 3, amount=2345)
    assert outcomes(rest) == {(201, None): 1, (422, "refund_exceeds_paid"): 2}
    assert (await read(client, alice, order))["payment_status"] == "refunded"
    assert await db.scalar(select(func.sum(Refund.amount))) == 12345
    told = select(func.count()).select_from(EventOutbox).where(EventOutbox.type == "order.refunded")
    assert await db.scalar(told) == 3
    moves = select(OrderStatusHistory.to_value).where(OrderStatusHistory.field == "payment_status")
    assert list(await db.scalars(moves.order_by(OrderStatusHistory.position))) == [
        "paid",
        "partially_refunded",
        "refunded",
    ]


async def test_line_when_more_units_are_asked_for_than_there_are(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=999, stock=10)
    order = await make_paid(client, alice, (product, 7))
    line = units(order["order_items"][0])
    answers = await refund_all(client, alice, order, 15, lines=[line], restock=True)
    assert outcomes(answers) == {(201, None): 7, (422, "refund_quantity_exceeded"): 8}
    assert sum(answer.json()["amount"] for answer in answers if answer.status_code == 201) == 6993
    assert await db.scalar(select(Product.stock)) == 10
    taxes = [
        group["tax_amount"] for groups in await db.scalars(select(Refund.tax_groups)) for group in groups
    ]
    assert sum(taxes) == order["tax_amount"]


async def test_key_when_a_refund_is_sent_ten_times(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=10)
    order = await make_paid(client, alice, (product, 1))
    headers = {**alice.headers, "Idempotency-Key": "once"}
    body = {"amount": 100, "reason": "goodwill", "reference": "VIR 1"}
    path = f"/api/orders/{order['id']}/refunds"
    answers = await asyncio.gather(*(client.post(path, headers=headers, json=body) for _ in range(10)))
    assert set(outcomes(answers)) <= {(201, None), (409, "idempotency_in_progress")}
    assert await db.scalar(select(func.count()).select_from(Refund)) == 1
    assert await db.scalar(select(Order.amount_refunded)) == 100


async def test_order_when_cancelling_and_refunding_race(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Whoever comes first, the buyer gets the whole payment once and the shelf its pieces once."""
    product = await make_product(db, owner=alice, price=1000, stock=50)
    for _ in range(8):
        order = await make_paid(client, alice, (product, 3))
        path = f"/api/orders/{order['id']}"
        lines = [units(order["order_items"][0], 2)]
        body = {"lines": lines, "restock": True, "reason": "other", "reference": "till"}
        refunded, cancelled = await asyncio.gather(
            client.post(f"{path}/refunds", headers=alice.headers, json=body),
            client.post(f"{path}/cancel", headers=alice.headers, json={}),
        )
        assert cancelled.status_code == 200
        codes = {(201, None), (422, "refund_exceeds_paid"), (422, "refund_quantity_exceeded")}
        assert set(outcomes([refunded])) <= codes
        after = await read(client, alice, order)
        assert (after["payment_status"], after["amount_refunded"]) == ("refunded", 3000)
        item = after["order_items"][0]
        counts = (item["refunded_quantity"], item["refunded_amount"], item["restocked_quantity"])
        assert counts == (3, 3000, 3)
    assert await db.scalar(select(Product.stock)) == 50
    restocked = select(func.sum(StockMovement.delta_stock)).where(StockMovement.reason == "restock")
    assert await db.scalar(restocked) == 24
