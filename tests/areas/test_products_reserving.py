"""The stock that orders hold, take and give back: never oversold, never twice, never a stranger's."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from app.core.access import Principal
from app.core.database import Database, OwnerSession, SystemSession
from app.core.errors import AppError, Conflict, from_database
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.jobs.products import verify_stock
from app.models.orders import Order
from app.models.products import Product, StockMovement, StockReservation
from app.services.products.stock import Actor, StockService
from tests.factories.products import make_product
from tests.support.personas import Persona


async def add_order(session: OwnerSession, owner: Persona) -> UUID:
    """A draft, which needs neither a number nor a price, and stands for the order in all of these tests."""
    order = Order(
        id=uuid7(),
        status="draft",
        currency="EUR",
        prices_include_tax=True,
        subtotal=0,
        total_amount=0,
        user_id=owner.user_id,
    )
    session.add(order)
    await session.flush()
    return order.id


async def place(database: Database, owner: Persona, quantities: Mapping[UUID, int]) -> UUID:
    """Place an order as the service of orders does: reserve, then write reservations and movements."""
    async with database.owner(owner.principal) as session:
        stock = StockService(session, owner.principal)
        order_id = await add_order(session, owner)
        reserved = await stock.reserve(order_id, quantities)
        await stock.stock.write(stock.reservation_rows(reserved), stock.movement_rows(reserved))
        await session.commit()
    return order_id


async def levels(db: SystemSession, *products: Product) -> list[tuple[int, int]]:
    rows = await db.execute(select(Product.id, Product.stock, Product.reserved))
    found = {row.id: (row.stock, row.reserved) for row in rows}
    return [found[product.id] for product in products]


async def reservations(db: SystemSession, order_id: UUID) -> dict[UUID, tuple[int, str]]:
    rows = await db.execute(
        select(StockReservation.product_id, StockReservation.quantity, StockReservation.status).where(
            StockReservation.order_id == order_id
        )
    )
    return {row.product_id: (row.quantity, row.status) for row in rows}


async def movements(db: SystemSession, product: Product) -> list[tuple[str, int, int, int, int]]:
    rows = await db.execute(
        select(StockMovement).where(StockMovement.product_id == product.id).order_by(StockMovement.id)
    )
    return [
        (row.reason, row.delta_stock, row.delta_reserved, row.stock_after, row.reserved_after)
        for row in rows.scalars()
    ]


async def act(database: Database, owner: Persona, name: str, *args: Any, **more: Any) -> Any:
    """One act of the service in a transaction of its own."""
    async with database.owner(owner.principal) as session:
        result = await getattr(StockService(session, owner.principal), name)(*args, **more)
        await session.commit()
        return result


async def test_reserve_when_there_is_enough(database: Database, db: SystemSession, alice: Persona) -> None:
    bag = await make_product(db, owner=alice, stock=10, price=500)
    cup = await make_product(db, owner=alice, stock=3, currency="USD", price=7)
    async with database.owner(alice.principal) as session:
        stock = StockService(session, alice.principal)
        order_id = await add_order(session, alice)
        reserved = await stock.reserve(order_id, {bag.id: 4, cup.id: 3})
        assert (reserved[bag.id].price, reserved[bag.id].currency) == (500, "EUR")
        assert (reserved[cup.id].price, reserved[cup.id].currency) == (7, "USD")
        assert (reserved[cup.id].quantity, reserved[cup.id].stock, reserved[cup.id].reserved) == (3, 3, 3)
        await stock.stock.write(stock.reservation_rows(reserved), stock.movement_rows(reserved))
        await session.commit()
    assert await levels(db, bag, cup) == [(10, 4), (3, 3)]
    assert await reservations(db, order_id) == {bag.id: (4, "held"), cup.id: (3, "held")}
    assert await movements(db, bag) == [("reserve", 0, 4, 10, 4)]


async def test_reserve_when_some_products_are_short(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=2)
    cup = await make_product(db, owner=alice, stock=10)
    lamp = await make_product(db, owner=alice, stock=5, reserved=5)
    with pytest.raises(Conflict) as refused:
        await place(database, alice, {lamp.id: 1, cup.id: 1, bag.id: 3})
    assert refused.value.code == "insufficient_stock"
    assert refused.value.extensions["short"] == [
        {"product_id": str(bag.id), "requested": 3, "available": 2},
        {"product_id": str(lamp.id), "requested": 1, "available": 0},
    ]
    assert await levels(db, bag, cup, lamp) == [(2, 0), (10, 0), (5, 5)]
    assert await movements(db, cup) == []


async def test_reserve_when_a_product_is_on_back_order(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=1, allow_backorder=True)
    order_id = await place(database, alice, {bag.id: 3})
    assert await levels(db, bag) == [(1, 3)]
    await act(database, alice, "commit", order_id)
    assert await levels(db, bag) == [(-2, 0)]


async def test_reserve_when_pieces_are_not_counted(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, track_inventory=False, stock=0)
    cup = await make_product(db, owner=alice, stock=1)
    order_id = await place(database, alice, {bag.id: 1000, cup.id: 1})
    assert await reservations(db, order_id) == {cup.id: (1, "held")}
    assert await levels(db, bag) == [(0, 0)]
    await act(database, alice, "commit", order_id)
    await act(database, alice, "restock", order_id, {bag.id: 1000, cup.id: 1})
    assert await levels(db, bag, cup) == [(0, 0), (1, 0)]
    assert await movements(db, bag) == []


@pytest.mark.parametrize("columns", [{"status": "draft"}, {"status": "archived", "track_inventory": False}])
async def test_reserve_when_a_product_is_not_for_sale(
    database: Database, db: SystemSession, alice: Persona, columns: dict[str, Any]
) -> None:
    bag = await make_product(db, owner=alice, **columns)
    with pytest.raises(Conflict) as refused:
        await place(database, alice, {bag.id: 1})
    assert refused.value.code == "product_not_orderable"
    assert refused.value.extensions["products"] == [str(bag.id)]


async def test_reserve_when_the_product_is_a_strangers(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    bag = await make_product(db, owner=charlie, stock=10)
    with pytest.raises(Conflict, match="product_not_orderable"):
        await place(database, alice, {bag.id: 1})
    assert await levels(db, bag) == [(10, 0)]


async def test_acts_when_the_order_is_a_strangers(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    bag = await make_product(db, owner=charlie, stock=10)
    held = await place(database, charlie, {bag.id: 1})
    released = await place(database, charlie, {bag.id: 1})
    await act(database, charlie, "release", released)
    committed = await place(database, charlie, {bag.id: 1})
    await act(database, charlie, "commit", committed)
    before = (await levels(db, bag), await movements(db, bag))
    await act(database, alice, "commit", held)
    await act(database, alice, "release", held)
    assert await act(database, alice, "retake", released, [bag.id]) == []
    await act(database, alice, "restock", committed, {bag.id: 1})
    async with database.owner(alice.principal) as session:
        assert await StockService(session, alice.principal).stock.held(held) == {}
    assert (await levels(db, bag), await movements(db, bag)) == before
    assert await reservations(db, held) == {bag.id: (1, "held")}


async def test_service_when_nobody_owns_anything(database: Database) -> None:
    principal = Principal(kind="system", name="job")
    async with database.owner(principal) as session:
        with pytest.raises(ValueError, match="acts in none"):
            StockService(session, principal)


@pytest.mark.parametrize("quantity", [0, -1])
@pytest.mark.parametrize("name", ["reserve", "rehold", "restock"])
async def test_acts_when_a_quantity_is_below_one(
    database: Database, alice: Persona, name: str, quantity: int
) -> None:
    with pytest.raises(ValueError, match="at least one piece"):
        await act(database, alice, name, uuid4(), {uuid4(): quantity})


async def test_commit_when_it_is_repeated(database: Database, db: SystemSession, alice: Persona) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4})
    for _ in range(2):
        await act(database, alice, "commit", order_id)
    await act(database, alice, "release", order_id)
    assert await levels(db, bag) == [(6, 0)]
    assert await reservations(db, order_id) == {bag.id: (4, "committed")}
    assert await movements(db, bag) == [("reserve", 0, 4, 10, 4), ("commit", -4, -4, 6, 0)]


async def test_release_when_the_product_is_gone(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4})
    bag.track_inventory = False
    bag.status = "archived"
    await db.commit()
    for _ in range(2):
        await act(database, alice, "release", order_id)
    assert await levels(db, bag) == [(10, 0)]
    assert await reservations(db, order_id) == {bag.id: (4, "released")}
    assert (await movements(db, bag))[1:] == [("release", 0, -4, 10, 0)]


async def test_retake_when_everything_is_there(database: Database, db: SystemSession, alice: Persona) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    cup = await make_product(db, owner=alice, stock=2)
    order_id = await place(database, alice, {bag.id: 4, cup.id: 2})
    await act(database, alice, "release", order_id)
    assert await act(database, alice, "retake", order_id, [bag.id, cup.id]) == []
    assert await levels(db, bag, cup) == [(6, 0), (0, 0)]
    assert await reservations(db, order_id) == {bag.id: (4, "committed"), cup.id: (2, "committed")}
    assert (await movements(db, bag))[-1] == ("commit", -4, 0, 6, 0)


async def test_retake_when_one_product_is_short(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    cup = await make_product(db, owner=alice, stock=2)
    order_id = await place(database, alice, {bag.id: 4, cup.id: 2})
    await act(database, alice, "release", order_id)
    await place(database, alice, {cup.id: 1})
    (miss,) = await act(database, alice, "retake", order_id, [bag.id, cup.id])
    assert (miss.product_id, miss.requested, miss.available) == (cup.id, 2, 1)
    assert await levels(db, bag, cup) == [(10, 0), (2, 1)]
    assert await reservations(db, order_id) == {bag.id: (4, "released"), cup.id: (2, "released")}
    assert (await movements(db, bag))[-1][0] == "release"


async def test_restock_when_a_refund_gives_pieces_back(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4})
    await act(database, alice, "restock", order_id, {bag.id: 1})
    assert await levels(db, bag) == [(10, 4)]
    await act(database, alice, "commit", order_id)
    refund_id = uuid7()
    await act(database, alice, "restock", order_id, {bag.id: 3}, refund_id=refund_id)
    assert await levels(db, bag) == [(9, 0)]
    assert await reservations(db, order_id) == {bag.id: (4, "committed")}
    last = (await db.execute(select(StockMovement).order_by(StockMovement.id.desc()).limit(1))).scalar_one()
    assert (last.reason, last.delta_stock, last.refund_id, last.order_id) == (
        "restock",
        3,
        refund_id,
        order_id,
    )


async def test_rehold_when_an_order_is_edited(database: Database, db: SystemSession, alice: Persona) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    cup = await make_product(db, owner=alice, stock=10)
    lamp = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4, cup.id: 2, lamp.id: 1})
    await act(database, alice, "rehold", order_id, {bag.id: 1, lamp.id: 10})
    assert await levels(db, bag, cup, lamp) == [(10, 1), (10, 0), (10, 10)]
    assert await reservations(db, order_id) == {
        bag.id: (1, "held"),
        cup.id: (2, "released"),
        lamp.id: (10, "held"),
    }
    assert (await movements(db, bag))[-1] == ("release", 0, -3, 10, 1)
    assert (await movements(db, lamp))[-1] == ("reserve", 0, 9, 10, 10)
    await act(database, alice, "rehold", order_id, {bag.id: 1, cup.id: 5, lamp.id: 10})
    assert await levels(db, bag, cup, lamp) == [(10, 1), (10, 5), (10, 10)]
    with pytest.raises(Conflict, match="insufficient_stock"):
        await act(database, alice, "rehold", order_id, {bag.id: 11})
    assert await levels(db, bag, cup, lamp) == [(10, 1), (10, 5), (10, 10)]


async def test_retake_when_an_edit_took_a_product_out(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    cup = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4, cup.id: 2})
    await act(database, alice, "rehold", order_id, {bag.id: 3})
    await act(database, alice, "release", order_id)
    await act(database, alice, "retake", order_id, [bag.id])
    assert await levels(db, bag, cup) == [(7, 0), (10, 0)]


async def test_acts_when_somebody_else_than_the_principal_acts(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 1})
    async with database.system() as session:
        principal = Principal(kind="system", name="apply", organization_id=alice.organization_id)
        await StockService(session, principal, actor=Actor("stripe", "evt_1")).commit(order_id)
        await session.commit()
    actors = await db.execute(
        select(StockMovement.actor_type, StockMovement.actor_id).order_by(StockMovement.id)
    )
    assert [tuple(row) for row in actors] == [("user", str(alice.user_id)), ("stripe", "evt_1")]


async def test_reserve_when_pieces_run_low_and_out(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10, low_stock_threshold=4)
    for quantity in (5, 1, 2):
        await place(database, alice, {bag.id: quantity})
    last = await place(database, alice, {bag.id: 2})
    await act(database, alice, "commit", last)
    events = (
        await db.execute(select(EventOutbox.type, EventOutbox.organization_id).order_by(EventOutbox.id))
    ).all()
    assert [row.type for row in events] == ["product.stock_low", "product.out_of_stock"]
    assert {row.organization_id for row in events} == {alice.organization_id}


async def test_reserve_when_more_is_held_than_can_be_counted(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=0, allow_backorder=True, reserved=1_000_000_000)
    with pytest.raises(IntegrityError) as broken:
        await place(database, alice, {bag.id: 1})
    refusal = from_database(broken.value)
    assert isinstance(refusal, AppError)
    assert (refusal.status, refusal.code) == (409, "stock_out_of_range")


async def test_acts_when_orders_grow_cost_the_same(
    database: Database, db: SystemSession, alice: Persona, statements
) -> None:
    counts = []
    for size in (2, 12):
        quantities = {(await make_product(db, owner=alice, stock=9)).id: 1 for _ in range(size)}
        with statements() as seen:
            order_id = await place(database, alice, quantities)
            await act(database, alice, "release", order_id)
            await act(database, alice, "retake", order_id, list(quantities))
            await act(database, alice, "restock", order_id, quantities)
        counts.append(len(seen))
    # The order, then three statements for each of the four acts: locks, products, and what is written down.
    assert counts[0] == counts[1] == 13


@pytest.mark.commits
async def test_reserve_when_fifty_orders_come_at_once(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=20, low_stock_threshold=5)
    cup = await make_product(db, owner=alice, stock=40)

    async def attempt(number: int) -> list[dict[str, Any]]:
        """What was short, which is nothing for an order that was placed."""
        ids = (bag.id, cup.id) if number % 2 else (cup.id, bag.id)
        try:
            await place(database, alice, dict.fromkeys(ids, 1))
        except Conflict as refusal:
            return list(refusal.extensions["short"])
        return []

    results = await asyncio.gather(*(attempt(number) for number in range(50)))
    assert results.count([]) == 20
    assert results.count([{"product_id": str(bag.id), "requested": 1, "available": 0}]) == 30
    assert await levels(db, bag, cup) == [(20, 20), (40, 20)]
    afters = [row[4] for row in await movements(db, bag)]
    assert sorted(afters) == list(range(1, 21))
    types = (await db.execute(select(EventOutbox.type))).scalars().all()
    assert sorted(types) == ["product.out_of_stock", "product.stock_low"]


@pytest.mark.commits
async def test_commit_and_release_when_they_race(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    for _ in range(5):
        order_id = await place(database, alice, {bag.id: 1})
        await asyncio.gather(
            *(act(database, alice, name, order_id) for name in ("commit", "release", "commit", "release"))
        )
    ((stock, reserved),) = await levels(db, bag)
    closing = [row for row in await movements(db, bag) if row[0] != "reserve"]
    assert len(closing) == 5
    assert (stock, reserved) == (10 - sum(row[0] == "commit" for row in closing), 0)


@pytest.mark.commits
async def test_commit_when_an_edit_took_a_product_out_of_the_order(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """What has left the order is not locked: an edit that is paid at once would lock it after the others."""
    left, kept = [await make_product(db, owner=alice, stock=10) for _ in range(2)]
    order_id = await place(database, alice, {left.id: 1, kept.id: 1})
    await act(database, alice, "rehold", order_id, {kept.id: 1})
    free = text("SELECT id FROM products FOR NO KEY UPDATE SKIP LOCKED")
    async with database.owner(alice.principal) as session:
        await StockService(session, alice.principal).commit(order_id)
        assert list(await db.scalars(free)) == [left.id]
        await db.rollback()


@pytest.mark.commits
async def test_reserve_when_the_product_is_archived_meanwhile(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    await db.execute(update(Product).where(Product.id == bag.id).values(status="archived"))
    waiting = asyncio.create_task(place(database, alice, {bag.id: 1}))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await db.commit()
    with pytest.raises(Conflict, match="product_not_orderable"):
        await waiting


async def test_verify_stock_when_reservations_do_not_add_up(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    bag = await make_product(db, owner=alice, stock=10)
    order_id = await place(database, alice, {bag.id: 4})
    await verify_stock(database)
    assert (await db.execute(select(EventOutbox))).first() is None
    await make_product(db, owner=charlie, stock=10, reserved=3)
    bag.reserved = 5
    await db.commit()
    await verify_stock(database)
    rows = (await db.execute(select(EventOutbox).order_by(EventOutbox.id))).scalars().all()
    assert {(row.type, row.audience, row.is_webhook, row.actor_type) for row in rows} == {
        ("stock.drift_detected", "internal", False, "system")
    }
    assert {row.object_id for row in rows} >= {str(bag.id)}
    assert '"reserved":5,"held_total":4' in "".join(row.body for row in rows)
    assert '"reserved":3,"held_total":0' in "".join(row.body for row in rows)
    assert await levels(db, bag) == [(10, 5)]
    assert await reservations(db, order_id) == {bag.id: (4, "held")}
