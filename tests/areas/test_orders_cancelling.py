"""Cancelling paid orders: what goes back of the money and to the shelf, and who may do it; how holds end."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core.database import SystemSession
from app.models.orders import DiscountCode, Order, OrderItem
from app.models.products import StockMovement
from tests.areas.test_orders_life import act, event_types, quantities
from tests.areas.test_orders_pricing import make_code
from tests.areas.test_orders_refunds import example_two, make_paid, read, refund, taxes, units
from tests.factories.orders import make_order, make_payment
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

ENGRAVING = {"type": "text", "code": "engraving", "label": "Engraving", "max_length": 5}


async def test_paid_order_when_it_is_cancelled(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """By default everything goes back: the lines, the shipping, the tax, the code and the pieces."""
    order = await example_two(client, db, alice)
    told = await act(client, alice, order, "cancel", reason="Changed her mind.", reference="VIR 9")
    assert (told["status"], told["payment_status"], told["version"]) == ("cancelled", "refunded", 3)
    assert (told["amount_refunded"], told["amount_refund_pending"]) == (22903, 0)
    [back] = told["refunds"]
    assert (back["amount"], back["shipping_amount"], back["status"]) == (22903, 590, "succeeded")
    assert [line["amount"] for line in back["lines"]] == [11816, 8585, 1912]
    assert taxes(back) == {550: (8585, 448), 2000: (14318, 2386)}
    assert (back["reason"], back["note"], back["reference"]) == ("cancelled", "Changed her mind.", "VIR 9")
    assert (back["is_return"], back["restock"]) == (False, True)
    assert [
        (item["refunded_quantity"], item["restocked_quantity"], item["returned_quantity"])
        for item in told["order_items"]
    ] == [(1, 1, 0), (3, 3, 0), (2, 2, 0)]
    assert [(row["field"], row["from_value"], row["to_value"]) for row in told["history"][-2:]] == [
        ("status", "confirmed", "cancelled"),
        ("payment_status", "paid", "refunded"),
    ]
    assert {row["reason"] for row in told["history"][-2:]} == {"Changed her mind."}
    assert await event_types(db) == ["order.created", "order.paid", "order.cancelled", "order.refunded"]
    movements = (await db.scalars(select(StockMovement).where(StockMovement.reason == "restock"))).all()
    assert {str(movement.refund_id) for movement in movements} == {back["id"]}
    assert sorted(movement.delta_stock for movement in movements) == [1, 2, 3]
    assert (await db.scalars(select(DiscountCode.redeemed))).one() == 0
    again = await act(client, alice, order, "cancel", refund="none")
    assert again == told


@pytest.mark.parametrize(("restock", "shelf"), [(None, (5, 4)), (True, (5, 5)), (False, (4, 4))])
async def test_pieces_when_a_line_is_personalised(
    client: AsyncClient, db: SystemSession, alice: Persona, restock: bool | None, shelf: tuple[int, int]
) -> None:
    plain = await make_product(db, owner=alice, price=1000, stock=5, name="Plain")
    made = await make_product(db, owner=alice, price=1000, stock=5, name="Made", options=[ENGRAVING])
    items = [
        {"product_id": str(plain.id), "quantity": 1},
        {"product_id": str(made.id), "quantity": 1, "customization": {"engraving": {"text": "Anna"}}},
    ]
    order = await make_paid(client, alice, items=items)
    told = await act(client, alice, order, "cancel", restock=restock)
    assert told["payment_status"] == "refunded"
    assert ((await quantities(db, plain))[0], (await quantities(db, made))[0]) == shelf


async def test_money_when_it_stays_or_goes_in_part(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=9)
    kept = await make_paid(client, alice, (product, 1))
    told = await act(client, alice, kept, "cancel", refund="none")
    assert (told["status"], told["payment_status"], told["refunds"]) == ("cancelled", "paid", [])
    late = await refund(client, alice, kept, amount=1000, reason="order_closed")
    assert late["status"] == "succeeded"

    part = await make_paid(client, alice, (product, 2))
    over = await act(client, alice, part, "cancel", expect=422, refund="amount", amount=2001)
    assert (over["code"], over["refundable"]) == ("refund_exceeds_paid", 2000)
    told = await act(client, alice, part, "cancel", refund="amount", amount=1500)
    assert (told["payment_status"], told["amount_refunded"]) == ("partially_refunded", 1500)
    assert (told["refunds"][0]["lines"], told["order_items"][0]["restocked_quantity"]) == ([], 2)
    assert await quantities(db, product) == (9, 0)


async def test_rest_when_a_part_was_refunded_before(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """What went back before at another amount than its lines cost is counted; the rest comes to all of it."""
    order = await example_two(client, db, alice)
    bag, jam, _ = order["order_items"]
    await refund(client, alice, order, lines=[units(bag)], amount=5000)
    await refund(client, alice, order, lines=[units(jam)], restock=True)
    await refund(client, alice, order, amount=100, reason="goodwill")
    told = await act(client, alice, order, "cancel")
    assert (told["payment_status"], told["amount_refunded"]) == ("refunded", 22903)
    groups = [group for row in told["refunds"] for group in row["tax_groups"]]
    assert sum(group["tax_amount"] for group in groups) == 2834
    assert [(item["refunded_quantity"], item["restocked_quantity"]) for item in told["order_items"]] == [
        (1, 1),
        (3, 3),
        (2, 2),
    ]
    refunded = [item["refunded_amount"] for item in told["order_items"]]
    assert refunded == [5000, 8585, 1912]


async def test_nothing_when_all_was_refunded_before(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    await refund(client, alice, {"id": order.id}, amount=order.total_amount)
    manager = await make_colleague(db, alice, "dora", role="manager")
    told = await act(client, manager, {"id": order.id}, "cancel")
    assert (told["status"], len(told["refunds"])) == ("cancelled", 1)


async def test_order_in_the_making_when_a_part_has_left(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Only pieces that never left go back to the shelf."""
    product = await make_product(db, owner=alice, price=1000, stock=9)
    order = await make_paid(client, alice, (product, 5))
    line = order["order_items"][0]
    await act(client, alice, order, "ship", lines=[units(line, 2)])
    await refund(client, alice, order, lines=[units(line)], returned=True, restock=True)
    assert await quantities(db, product) == (5, 0)
    nameless = await act(client, alice, order, "cancel", expect=422)
    assert (nameless["code"], nameless["errors"][0]["pointer"]) == ("reason_required", "/reason")
    told = await act(client, alice, order, "cancel", reason="The press broke.")
    assert told["order_items"][0]["restocked_quantity"] == 4
    assert await quantities(db, product) == (8, 0)
    assert told["available_transitions"] == []


async def test_rights_when_a_manager_cancels(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    manager = await make_colleague(db, alice, "dora", role="manager")
    member = await make_colleague(db, alice, "milo", role="member")
    order = await make_order(db, owner=alice, status="confirmed")
    named = {"id": order.id}
    refused = await act(client, manager, named, "cancel", expect=403)
    assert (refused["code"], refused["permission"]) == ("permission_denied", "orders:refund")
    patched = await client.patch(
        f"/api/orders/{order.id}", headers=manager.headers, json={"status": "cancelled"}
    )
    assert (patched.status_code, patched.json()["permission"]) == (403, "orders:refund")
    assert (await act(client, member, named, "cancel", expect=403))["permission"] == "orders:write"
    assert (await act(client, manager, named, "cancel", refund="none"))["status"] == "cancelled"
    making = await make_order(db, owner=alice, status="processing")
    done = await act(client, manager, {"id": making.id}, "cancel", refund="none", reason="Out of leather.")
    assert done["payment_status"] == "paid"
    other = await make_order(db, owner=alice, status="confirmed")
    answer = await client.patch(
        f"/api/orders/{other.id}", headers=alice.headers, json={"status": "cancelled"}
    )
    assert (answer.status_code, answer.json()["payment_status"]) == (200, "refunded")


async def test_order_when_it_cannot_be_cancelled(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
        (
            {"status": "confirmed", "payment_status": "pending", "amount_paid": 0},
            {},
            409,
            "payment_in_progress",
        ),
        ({"status": "expired", "payment_status": "paid", "amount_paid": 1000}, {}, 409, "refund_required"),
        ({"status": "confirmed", "payment_status": "disputed"}, {}, 409, "order_disputed"),
        ({"status": "delivered"}, {}, 409, "invalid_transition"),
        (
            {"status": "confirmed", "payment_status": "unpaid", "amount_paid": 0},
            {"refund": "amount", "amount": 1},
            409,
            "nothing_to_refund",
        ),
        ({"status": "confirmed"}, {"refund": "amount"}, 422, "validation_error"),
        ({"status": "confirmed"}, {"amount": 5}, 422, "validation_error"),
        ({"status": "confirmed"}, {"refund": "half"}, 422, "validation_error"),
    ]
    for columns, body, status, code in cases:
        order = await make_order(db, owner=alice, **columns)
        assert (await act(client, alice, {"id": order.id}, "cancel", expect=status, **body))["code"] == code
    disputed = await make_order(db, owner=alice, status="confirmed", payment_status="disputed")
    told = await act(client, alice, {"id": disputed.id}, "cancel", refund="none")
    assert (told["status"], told["payment_status"]) == ("cancelled", "disputed")


async def test_key_when_a_paid_order_is_cancelled_again(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="confirmed")
    headers = {**alice.headers, "Idempotency-Key": "once"}
    first, again = [
        await client.post(f"/api/orders/{order.id}/cancel", headers=headers, json={}) for _ in range(2)
    ]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert await db.scalar(select(Order.amount_refunded)) == order.total_amount


async def test_cancelling_when_there_are_two_lines_or_forty(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    await make_code(db, alice)
    costs = []
    for count in (2, 40):
        products = [await make_product(db, owner=alice, price=1000, stock=5) for _ in range(count)]
        order = await make_paid(client, alice, *((product, 1) for product in products), discount_code="TEN")
        with statements() as seen:
            await act(client, alice, order, "cancel")
        costs.append(len(seen))
    assert costs == [23, 23]
    rows = (await db.execute(select(OrderItem.total_amount, OrderItem.refunded_amount))).all()
    assert all(total == back for total, back in rows)


HOLDS: list[tuple[str, int]] = [
    ("manual", 200),
    ("payment_lapsed", 200),
    ("refund_failed", 200),
    ("oversold", 200),
    ("amount_mismatch", 200),
    ("currency_mismatch", 200),
    ("dispute", 409),
]


@pytest.mark.parametrize(("hold", "status"), HOLDS, ids=[hold for hold, _ in HOLDS])
async def test_hold_when_it_is_released(
    client: AsyncClient, db: SystemSession, alice: Persona, hold: str, status: int
) -> None:
    order = await make_order(db, owner=alice, status="confirmed", hold_reason=hold)
    told = await act(client, alice, {"id": order.id}, "release-hold", expect=status, reason="Looked into.")
    if status == 409:
        assert (told["code"], told["hold_reason"]) == ("hold_not_releasable", "dispute")
        return
    assert told["hold_reason"] is None
    last = told["history"][-1]
    assert (last["field"], last["from_value"], last["to_value"], last["reason"]) == (
        "hold_reason",
        hold,
        None,
        "Looked into.",
    )


async def test_mismatch_when_its_money_lies_there(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The hold ends once the money that does not fit was given back in full."""
    order = await make_order(db, owner=alice, hold_reason="amount_mismatch")
    payment = await make_payment(
        db, order=order, amount=900, status="unapplied", unapplied_reason="amount_mismatch"
    )
    named = {"id": order.id}
    for amount in (400, 500):
        problem = await act(client, alice, named, "release-hold", expect=409, reason="Looked into.")
        assert problem["code"] == "payment_unresolved"
        await refund(client, alice, named, amount=amount, payment_id=str(payment.id))
    told = await act(client, alice, named, "release-hold", reason="Paid back.")
    assert (told["hold_reason"], told["status"], told["payment_status"]) == (None, "pending", "unpaid")
    assert (await read(client, alice, named))["amount_refunded"] == 0
