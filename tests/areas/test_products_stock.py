"""Correcting stock by hand over HTTP, and the history of it."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.products import Product, StockMovement
from tests.factories.products import make_product
from tests.support.personas import Persona


async def adjust(client: AsyncClient, persona: Persona, product: Product, **body: Any) -> Response:
    url = f"/api/products/{product.id}/stock"
    return await client.patch(url, headers=persona.headers, json={"reason": "Counted", **body})


async def types(db: SystemSession) -> list[str]:
    return list((await db.execute(select(EventOutbox.type).order_by(EventOutbox.id))).scalars())


async def test_adjust_when_a_delta_is_sent(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = await make_product(db, owner=alice, stock=10, reserved=4)
    answer = await adjust(client, alice, product, delta=-6)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["stock"], answer.json()["reserved"], answer.json()["available"]) == (4, 4, 0)
    assert answer.json()["version"] == 1
    movement = (await db.execute(select(StockMovement))).scalar_one()
    assert (movement.reason, movement.delta_stock, movement.delta_reserved) == ("adjust", -6, 0)
    assert (movement.stock_after, movement.reserved_after, movement.note) == (4, 4, "Counted")
    assert (movement.actor_type, movement.actor_id) == ("user", str(alice.user_id))


async def test_adjust_when_a_number_is_set(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = await make_product(db, owner=alice, stock=10)
    answer = await adjust(client, alice, product, set=25, expected_stock=10)
    assert answer.json()["stock"] == 25
    again = await adjust(client, alice, product, set=25, expected_stock=25)
    assert (again.status_code, again.json()["stock"]) == (200, 25)
    movements = (await db.execute(select(StockMovement.delta_stock))).scalars().all()
    assert movements == [15]


@pytest.mark.parametrize(
    ("columns", "body", "code", "extra"),
    [
        ({"stock": 10}, {"set": 5, "expected_stock": 9}, "stock_changed", {"stock": 10}),
        ({"stock": 10}, {"delta": 5, "expected_stock": 9}, "stock_changed", {"stock": 10}),
        ({"stock": 5, "reserved": 3}, {"delta": -3}, "stock_below_reserved", {"stock": 5, "reserved": 3}),
        ({"stock": 5}, {"delta": -6}, "stock_below_reserved", {"stock": 5, "reserved": 0}),
        (
            {"stock": 5, "reserved": 3},
            {"set": 2, "expected_stock": 5},
            "stock_below_reserved",
            {"stock": 5, "reserved": 3},
        ),
        ({"track_inventory": False}, {"delta": 1}, "inventory_not_tracked", {}),
        ({"stock": 1}, {"delta": 1_000_000_000}, "stock_out_of_range", {}),
        ({"stock": -1, "allow_backorder": True}, {"delta": -1_000_000_000}, "stock_out_of_range", {}),
    ],
)
async def test_adjust_when_the_stock_does_not_allow_it(
    client: AsyncClient,
    alice: Persona,
    db: SystemSession,
    columns: dict[str, Any],
    body: dict[str, Any],
    code: str,
    extra: dict[str, int],
) -> None:
    product = await make_product(db, owner=alice, **columns)
    answer = await adjust(client, alice, product, **body)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert extra.items() <= answer.json().items()
    assert (await db.execute(select(StockMovement))).first() is None
    assert (await db.execute(select(Product.stock))).scalar_one() == product.stock


async def test_adjust_when_it_sells_on_back_order(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice, stock=1, reserved=2, allow_backorder=True)
    assert (await adjust(client, alice, product, delta=-2)).json()["stock"] == -1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"delta": 0},
        {"delta": 1, "set": 1, "expected_stock": 0},
        {"set": 1},
        {"set": -1, "expected_stock": 0},
        {"delta": 1, "reason": ""},
        {"delta": 1, "reason": "x" * 501},
        {"delta": 1, "reason": None},
        {"delta": "1"},
        {"delta": 1.0},
        {"delta": True},
        {"delta": 10**9 + 1},
        {"delta": 1, "note": "no such field"},
    ],
)
async def test_adjust_when_the_body_is_not_valid(
    client: AsyncClient, alice: Persona, db: SystemSession, body: dict[str, Any]
) -> None:
    product = await make_product(db, owner=alice)
    answer = await adjust(client, alice, product, **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


async def test_adjust_when_pieces_run_low_and_out(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice, stock=10, reserved=2, low_stock_threshold=5, sku="B")
    for delta, expected in (
        (-2, []),
        (-1, ["product.stock_low"]),
        (-4, []),
        (-1, ["product.out_of_stock"]),
        (+8, []),
        (-8, ["product.stock_low", "product.out_of_stock"]),
    ):
        before = len(await types(db))
        assert (await adjust(client, alice, product, delta=delta)).status_code == 200
        assert (await types(db))[before:] == expected
    low = (
        await db.execute(select(EventOutbox.body).where(EventOutbox.type == "product.stock_low").limit(1))
    ).scalar_one()
    assert '"sku":"B"' in low
    assert '"stock":7,"reserved":2,"available":5,"version":1,"threshold":5' in low


@pytest.mark.commits
async def test_adjust_when_two_people_set_at_once(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice, stock=10)
    answers = await asyncio.gather(
        *(adjust(client, alice, product, set=number, expected_stock=10) for number in (20, 30, 40))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    winner = next(answer.json()["stock"] for answer in answers if answer.status_code == 200)
    losers = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(loser["code"], loser["stock"]) for loser in losers} == {("stock_changed", winner)}
    assert (await db.execute(select(Product.stock))).scalar_one() == winner
    assert len((await db.execute(select(StockMovement))).all()) == 1


@pytest.mark.commits
async def test_adjust_when_many_deltas_come_at_once(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice, stock=5, low_stock_threshold=2)
    answers = await asyncio.gather(*(adjust(client, alice, product, delta=-1) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [409] * 3
    assert (await db.execute(select(Product.stock))).scalar_one() == 0
    afters = (await db.execute(select(StockMovement.stock_after))).scalars().all()
    assert sorted(afters) == [0, 1, 2, 3, 4]
    assert sorted(await types(db)) == ["product.out_of_stock", "product.stock_low"]


async def test_movements_when_they_are_paged(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = await make_product(db, owner=alice, stock=10)
    other = await make_product(db, owner=alice, stock=10)
    for delta in (1, 2, 3):
        await adjust(client, alice, product, delta=delta)
    await adjust(client, alice, other, delta=9)
    url = f"/api/products/{product.id}/stock/movements"
    first = (await client.get(url, headers=alice.headers, params={"limit": 2, "count": True})).json()
    assert [item["delta_stock"] for item in first["items"]] == [3, 2]
    assert first["items"][0]["stock_after"] == 16
    assert first["total"] == 3
    params = {"cursor": first["next_cursor"]}
    second = (await client.get(url, headers=alice.headers, params=params)).json()
    assert [item["delta_stock"] for item in second["items"]] == [1]
    assert second["next_cursor"] is None
    foreign = f"/api/products/{other.id}/stock/movements"
    answer = await client.get(foreign, headers=alice.headers, params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


async def test_movements_when_they_grow_cost_the_same(
    client: AsyncClient, alice: Persona, db: SystemSession, statements
) -> None:
    product = await make_product(db, owner=alice)
    counts = []
    for size in (2, 10):
        for _ in range(size):
            await adjust(client, alice, product, delta=1)
        with statements() as seen:
            url = f"/api/products/{product.id}/stock/movements"
            answer = await client.get(url, headers=alice.headers, params={"limit": 100})
        assert len(answer.json()["items"]) == (2 if size == 2 else 12)
        counts.append(len(seen))
    assert counts[0] == counts[1] == 3


async def test_movement_when_somebody_rewrites_it(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice)
    await adjust(client, alice, product, delta=1)
    for statement in ("UPDATE stock_movements SET note = 'x'", "DELETE FROM stock_movements"):
        with pytest.raises(IntegrityError, match="append-only"):
            async with db.begin_nested():
                await db.execute(text(statement))
    async with db.begin_nested():
        await db.execute(text("SET LOCAL luneo.purge = 'on'"))
        with pytest.raises(IntegrityError, match="append-only"):
            async with db.begin_nested():
                await db.execute(text("UPDATE stock_movements SET note = 'x'"))
        await db.execute(text("DELETE FROM stock_movements"))
    assert (await db.execute(select(StockMovement))).first() is None
