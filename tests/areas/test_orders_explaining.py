"""Explaining an order: every step of its price is worked out again, and what does not fit is told."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, text

from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from tests.areas.test_orders_refunds import example_two, refund, units
from tests.factories.orders import make_order, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona


async def explain(client: AsyncClient, persona: Persona, order: dict[str, Any]) -> dict[str, Any]:
    """The explanation of an order."""
    answer = await client.get(f"/api/orders/{order['id']}/explain", headers=persona.headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def alerts(db: SystemSession) -> list[str]:
    """The bodies of the alerts so far."""
    found = select(EventOutbox.body).where(EventOutbox.type == "order.money_inconsistent")
    return list(await db.scalars(found.order_by(EventOutbox.id)))


async def test_steps_when_everything_fits(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """The second worked example of the page on money, step by step."""
    order = await example_two(client, db, alice)
    told = await explain(client, alice, order)
    assert told["is_consistent"]
    assert told["pricing"] == order["pricing"]
    steps = {step["step"]: step for step in told["steps"]}
    assert list(steps) == [
        "goods",
        "discount",
        "line_discounts",
        "tax_groups",
        "taxes",
        "line_totals",
        "total",
        "paid",
        "refunded",
    ]
    assert {(step["is_consistent"], step["stored"]) for step in told["steps"]} == {(True, None)}
    assert steps["goods"]["inputs"] == {"unit_prices": [12345, 2990, 999], "quantities": [1, 3, 2]}
    assert steps["goods"]["result"] == {"goods_amounts": [12345, 8970, 1998], "subtotal": 23313}
    assert steps["discount"]["formula"] == "min(value, subtotal)"
    assert steps["discount"]["inputs"] == {"subtotal": 23313, "value": 1000}
    assert steps["line_discounts"]["result"] == {"discount_amounts": [529, 385, 86]}
    assert steps["tax_groups"]["inputs"] == {
        "groups": [{"rate_bps": 550, "amount": 8585}, {"rate_bps": 2000, "amount": 14318}]
    }
    assert steps["tax_groups"]["result"]["tax_groups"][0] == {
        "rate_bps": 550,
        "net_amount": 8137,
        "tax_amount": 448,
        "gross_amount": 8585,
    }
    assert steps["taxes"]["result"] == {"tax_amounts": [1969, 448, 319], "shipping_tax_amount": 98}
    assert steps["line_totals"]["result"] == {"total_amounts": [11816, 8585, 1912]}
    assert steps["total"]["result"] == {"total_amount": 22903}
    assert steps["paid"]["result"] == {"amount_paid": 22903}
    assert await alerts(db) == []


async def test_refundable_when_parts_were_refunded(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await example_two(client, db, alice)
    _, jam, pen = order["order_items"]
    fresh = (await explain(client, alice, order))["refundable"]
    assert (fresh["amount"], fresh["shipping"]) == (22903, 590)
    assert [(line["quantity"], line["amount"]) for line in fresh["lines"]] == [
        (1, 11816),
        (3, 8585),
        (2, 1912),
    ]
    await refund(client, alice, order, lines=[units(jam), units(pen, 2)], shipping_amount=90)
    told = await explain(client, alice, order)
    assert told["is_consistent"]
    assert (told["refundable"]["amount"], told["refundable"]["shipping"]) == (22903 - 2862 - 1912 - 90, 500)
    assert [(line["quantity"], line["amount"]) for line in told["refundable"]["lines"]] == [
        (1, 11816),
        (2, 5723),
        (0, 0),
    ]
    assert [step["result"] for step in told["steps"]][-1] == {
        "amount_refunded": 4864,
        "amount_refund_pending": 0,
    }
    await refund(client, alice, order, amount=told["refundable"]["amount"] - 100)
    last = (await explain(client, alice, order))["refundable"]
    assert (last["amount"], last["shipping"]) == (100, 100)
    assert [line["amount"] for line in last["lines"]] == [100, 100, 0]


async def test_order_when_it_is_not_paid(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000)
    for status in ("draft", "pending"):
        order = await place_order(client, alice, product, 2, status=status)
        told = await explain(client, alice, order)
        assert (told["is_consistent"], told["payments"], told["refunds"]) == (True, [], [])
        assert told["refundable"]["amount"] == 0
        assert [(line["quantity"], line["amount"]) for line in told["refundable"]["lines"]] == [(2, 0)]
        assert (await explain(client, bob, order))["payments"] is None
    disputed = await make_order(db, owner=alice, status="confirmed", payment_status="disputed")
    assert (await explain(client, alice, {"id": disputed.id}))["refundable"]["amount"] == 0


async def test_order_when_prices_exclude_tax_or_shipping_is_free(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    patched = await client.patch(
        "/api/orders/settings", headers=alice.headers, json={"prices_include_tax": False}
    )
    assert patched.status_code == 200
    product = await make_product(db, owner=alice, price=999)
    order = await place_order(client, alice, product, 3)
    told = await explain(client, alice, order)
    assert told["is_consistent"]
    total = told["steps"][6]
    assert total["formula"] == "subtotal - discount_amount + shipping_amount + tax_amount"
    assert total["result"] == {"total_amount": 3596}


CHANGES: list[tuple[str, str, list[str]]] = [
    ("orders", "subtotal = subtotal + 1, total_amount = total_amount + 1", ["goods", "discount", "total"]),
    ("orders", "amount_paid = amount_paid - 1", ["paid"]),
    ("orders", "amount_refunded = 1", ["refunded"]),
    ("orders", "prices_include_tax = false, tax_amount = 0, shipping_tax_amount = 0", ["tax_groups"]),
    ("orders", "pricing = '{}'", ["inputs"]),
    ("orders", "pricing = jsonb_set(pricing, '{discount,kind}', '\"gift\"')", ["inputs"]),
    ("orders", "pricing = jsonb_set(pricing, '{lines,0,quantity}', '0')", ["inputs"]),
    ("orders", "pricing = jsonb_set(pricing, '{lines,0,tax_amount}', '1970')", ["taxes"]),
    ("orders", "pricing = jsonb_set(pricing, '{discount,value}', '999')", ["discount"]),
    ("order_items", "total_amount = total_amount + 1", ["line_totals"]),
    ("order_items", "tax_rate_bps = 2100", ["tax_groups", "taxes", "line_totals"]),
    ("order_payments", "amount = amount + 5", ["paid"]),
]


@pytest.mark.parametrize(("table", "change", "wrong"), CHANGES, ids=[change for _, change, _ in CHANGES])
async def test_amount_when_somebody_changed_it_by_hand(
    client: AsyncClient, db: SystemSession, alice: Persona, table: str, change: str, wrong: list[str]
) -> None:
    order = await example_two(client, db, alice)
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    if change.startswith("prices_include_tax"):
        await db.execute(text("ALTER TABLE orders DROP CONSTRAINT orders_total"))
    await db.execute(text(f"UPDATE {table} SET {change}"))  # noqa: S608 - the words above
    await db.commit()
    told = await explain(client, alice, order)
    assert not told["is_consistent"]
    found = [step for step in told["steps"] if not step["is_consistent"]]
    assert [step["step"] for step in found][: len(wrong)] == wrong
    assert all(step["stored"] is not None for step in found)
    [alert] = await alerts(db)
    assert f'"order_id":"{order["id"]}"' in alert
    assert f'"{wrong[0]}"' in alert.partition('"differences":')[2]


@pytest.mark.commits
async def test_alert_when_the_read_is_no_transaction(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """A read runs in autocommit; its event is there all the same, and internal."""
    order = await make_order(db, owner=alice, status="confirmed", amount_refunded=1)
    await explain(client, alice, {"id": order.id})
    async with database.system() as session:
        event = (await session.scalars(select(EventOutbox))).one()
    assert (event.type, event.audience, event.is_webhook) == ("order.money_inconsistent", "internal", False)
    assert (event.object_type, event.object_id) == ("order", str(order.id))


async def test_explanation_when_the_order_is_large(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    costs = []
    for items in (1, 30):
        order = await make_order(db, owner=alice, status="confirmed", items=items)
        with statements() as seen:
            await explain(client, alice, {"id": order.id})
        costs.append(len(seen))
    assert costs == [2, 2]
