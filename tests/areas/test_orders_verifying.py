"""The daily look at the money of all orders: sums that agree, and numbers without a gap."""

import json
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, select, text, update

from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.jobs.orders import verify_order_money
from app.models.billing import DocumentCounter, Invoice
from app.models.orders import Order
from tests.areas.test_orders_refunds import make_paid, refund
from tests.factories.orders import make_order, make_payment, make_refund, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona


async def alerts(db: SystemSession) -> list[tuple[str, list[str]]]:
    """What was told: the order and what does not agree."""
    found = select(EventOutbox.body).where(EventOutbox.type == "order.money_inconsistent")
    told = [json.loads(body)["data"] for body in await db.scalars(found.order_by(EventOutbox.id))]
    return [(data["order_id"], data["differences"]) for data in told]


async def verify(database: Database, db: SystemSession) -> list[tuple[str, list[str]]]:
    """Run the job; what it told."""
    await db.commit()
    await verify_order_money(database)
    return await alerts(db)


async def settle_numbers(db: SystemSession) -> None:
    """Take the numbers away that the factory made up, so that only what a test is about is told."""
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    await db.execute(
        text("ALTER TABLE orders DROP CONSTRAINT orders_placed"),
    )
    await db.execute(update(Order).values(order_number=None).execution_options(synchronize_session=False))


async def test_orders_when_everything_agrees(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    for persona in (alice, charlie):
        product = await make_product(db, owner=persona, price=1000, stock=9)
        order = await make_paid(client, persona, (product, 2))
        await refund(client, persona, order, amount=300)
        cancelled = await make_paid(client, persona, (product, 1))
        await client.post(f"/api/orders/{cancelled['id']}/cancel", headers=persona.headers)
        await place_order(client, persona, product, status="draft")
        await place_order(client, persona, product)
    assert await verify(database, db) == []


CASES: list[tuple[dict[str, Any], dict[str, Any] | None, list[str]]] = [
    ({"amount_paid": 999}, None, ["paid"]),
    ({"amount_refunded": 5}, None, ["refunded"]),
    ({"amount_refund_pending": 5}, None, ["refunded"]),
    ({}, {"amount": 100}, ["refunded", "payments"]),
    ({"amount_refunded": 100}, {"amount": 100}, ["payments"]),
    ({"amount_refund_pending": 100}, {"amount": 100, "status": "requires_action"}, ["payments"]),
    ({}, {"amount": 100, "status": "failed"}, []),
    ({}, {"amount": 100, "status": "canceled"}, []),
]


@pytest.mark.parametrize(("columns", "given_back", "names"), CASES, ids=str)
async def test_order_when_its_sums_do_not_agree(
    database: Database,
    db: SystemSession,
    alice: Persona,
    columns: dict[str, Any],
    given_back: dict[str, Any] | None,
    names: list[str],
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    await db.execute(update(Order).values(columns or {"amount_paid": 1000}))
    if given_back is not None:
        await make_refund(db, order=order, **given_back)
    await settle_numbers(db)
    assert await verify(database, db) == ([(str(order.id), names)] if names else [])


async def test_payment_when_it_was_not_applied(database: Database, db: SystemSession, alice: Persona) -> None:
    """It counts nothing of the order's, but its own refunds must agree."""
    order = await make_order(db, owner=alice, status="confirmed")
    extra = await make_payment(db, order=order, status="unapplied", unapplied_reason="duplicate")
    await settle_numbers(db)
    assert await verify(database, db) == []
    extra.amount_refunded = 1
    assert await verify(database, db) == [(str(order.id), ["payments"])]


async def test_numbers_when_one_is_missing(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    orders = []
    for persona in (charlie, alice):
        product = await make_product(db, owner=persona, price=1000, stock=9)
        orders = [await place_order(client, persona, product) for _ in range(3)]
    gone = select(Order).where(Order.order_number == orders[1]["order_number"])
    middle = next(order for order in await db.scalars(gone) if order.organization_id == alice.organization_id)
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    await db.execute(delete(Order).where(Order.id == middle.id))
    assert await verify(database, db) == [(orders[2]["id"], ["order_numbers"])]


@pytest.mark.parametrize("last_value", [1, 3, None])
async def test_counter_when_it_is_not_at_the_last_number(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, last_value: int | None
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=9)
    orders = [await place_order(client, alice, product) for _ in range(2)]
    if last_value is None:
        await db.execute(delete(DocumentCounter))
    else:
        await db.execute(update(DocumentCounter).values(last_value=last_value))
    assert await verify(database, db) == [(orders[1]["id"], ["order_numbers"])]


@pytest.mark.parametrize(
    ("kind", "name"), [("order", "invoice_numbers"), ("credit_note", "credit_note_numbers")]
)
async def test_documents_when_one_is_missing(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, kind: str, name: str
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=9)
    orders = [await make_paid(client, alice, (product, 1)) for _ in range(2)]
    for order in orders:
        await refund(client, alice, order, amount=300)
    assert await verify(database, db) == []
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    await db.execute(delete(Invoice).where(Invoice.kind == kind, Invoice.order_id == UUID(orders[0]["id"])))
    assert await verify(database, db) == [(orders[1]["id"], [name])]


async def test_number_when_two_prefixes_hide_a_gap(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=9)
    orders = [await place_order(client, alice, product) for _ in range(3)]
    twin = orders[0]["order_number"].replace("ORD", "TWIN")
    await db.execute(
        update(Order).where(Order.order_number == orders[1]["order_number"]).values(order_number=twin)
    )
    assert await verify(database, db) == [(orders[2]["id"], ["order_numbers"])]


async def test_counter_when_its_organisation_or_its_orders_are_gone(
    database: Database, db: SystemSession, alice: Persona, caplog: pytest.LogCaptureFixture
) -> None:
    """Accounting outlives an organisation, and there is nothing to compare it with."""
    gone, left = uuid7(), alice.organization_id
    db.add(DocumentCounter(organization_id=gone, kind="order", period="2020", last_value=7))
    assert await verify(database, db) == []
    assert "Alert" not in caplog.text
    for found, kind in enumerate(("order", "invoice", "credit_note"), 1):
        db.add(DocumentCounter(organization_id=left, kind=kind, period="2020", last_value=7))
        assert await verify(database, db) == []
        assert f"Alert: {found} orders or series" in caplog.text
