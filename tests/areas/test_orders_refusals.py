"""What orders refuse, and that a refusal leaves nothing behind."""

import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import DocumentCounter
from app.models.orders import Order, OrderTransition
from app.models.products import Product
from app.services.orders.states import PAYMENT_STATUS_MOVES, STATUS_MOVES
from tests.factories.orders import ADDRESS, CUSTOMER, make_order, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

OPTIONS: list[dict[str, Any]] = [
    {"type": "text", "code": "engraving", "label": "Engraving", "max_length": 5, "price_delta": 500},
    {
        "type": "choice",
        "code": "size",
        "label": "Size",
        "required": True,
        "values": [{"code": "s", "label": "S"}, {"code": "xl", "label": "XL", "price_delta": 200}],
    },
]


async def refused(
    client: AsyncClient, persona: Persona, status: int, code: str, body: dict[str, Any], path: str = ""
) -> dict[str, Any]:
    """Send a body that must be refused in this way; the problem."""
    headers = {**persona.headers, "Content-Type": "application/json"}
    answer = await client.post(f"/api/orders{path}", headers=headers, content=json.dumps(body))
    assert answer.status_code == status, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    return problem


async def test_order_when_products_are_unknown_or_foreign(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    own = await make_product(db, owner=alice)
    foreign = await make_product(db, owner=charlie)
    body = order_body((own, 1), (foreign, 1))
    body["items"].append({"product_id": str(uuid7()), "quantity": 1})
    for path in ("", "/quote"):
        problem = await refused(client, alice, 404, "product_not_found", body, path)
        assert [error["pointer"] for error in problem["errors"]] == [
            "/items/1/product_id",
            "/items/2/product_id",
        ]


async def test_order_when_a_product_is_not_for_sale(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    draft = await make_product(db, owner=alice, status="draft")
    own = await make_product(db, owner=alice)
    problem = await refused(client, alice, 409, "product_not_orderable", order_body((own, 1), (draft, 1)))
    assert [error["pointer"] for error in problem["errors"]] == ["/items/1/product_id"]


async def test_order_when_several_products_are_short(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    plenty = await make_product(db, owner=alice, stock=100)
    few = [await make_product(db, owner=alice, stock=stock) for stock in (1, 2)]
    body = order_body((plenty, 1), (few[0], 1), (few[1], 3), (few[0], 1))
    problem = await refused(client, alice, 409, "insufficient_stock", body)
    assert problem["short"] == [
        {"product_id": str(few[0].id), "requested": 2, "available": 1},
        {"product_id": str(few[1].id), "requested": 3, "available": 2},
    ]
    assert await db.scalar(select(func.count()).select_from(Order)) == 0
    assert await db.scalar(select(func.sum(Product.reserved))) == 0
    assert await db.scalar(select(func.count()).select_from(DocumentCounter)) == 0


async def test_order_when_customisations_are_wrong(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, options=OPTIONS)
    body = order_body((product, 1), (product, 1))
    body["items"][0]["customization"] = {"engraving": {"text": "too long"}, "size": "m", "x/y": 1}
    problem = await refused(client, alice, 422, "unknown_option", body)
    assert sorted((error["pointer"], error["code"]) for error in problem["errors"]) == [
        ("/items/0/customization/engraving", "text_too_long"),
        ("/items/0/customization/size", "option_invalid"),
        ("/items/0/customization/x~1y", "unknown_option"),
        ("/items/1/customization/size", "option_required"),
    ]


async def test_order_when_customisations_are_right(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, options=OPTIONS)
    body = order_body((product, 1), (product, 2))
    body["items"][0]["customization"] = {"engraving": {"text": " Anna "}, "size": "xl"}
    body["items"][1]["customization"] = {"size": "s"}
    order = (await client.post("/api/orders", headers=alice.headers, json=body)).json()
    first, second = order["order_items"]
    assert (first["unit_price"], second["unit_price"], order["total_amount"]) == (1700, 1000, 3700)
    assert first["customization"] == {"engraving": {"text": "Anna"}, "size": "xl"}
    assert (first["is_personalised"], second["is_personalised"]) == (True, False)
    assert order["withdrawal_right"] == "partial"
    assert [option["code"] for option in second["product_snapshot"]["options"]] == ["size"]
    assert order["pricing"]["lines"][0]["option_deltas"] == [
        {"code": "engraving", "delta": 500},
        {"code": "size", "delta": 200},
    ]
    read = (await client.get(f"/api/orders/{order['id']}", headers=alice.headers)).json()
    assert read["order_items"] == order["order_items"]
    assert {name: read[name] for name in order if name != "checkout_error"} == {
        name: value for name, value in order.items() if name != "checkout_error"
    }


async def test_order_when_currencies_differ(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    euro = await make_product(db, owner=alice)
    dollar = await make_product(db, owner=alice, currency="USD")
    problem = await refused(client, alice, 422, "mixed_currencies", order_body((euro, 1), (dollar, 1)))
    assert problem["errors"][0]["pointer"] == "/items/1/product_id"
    await refused(client, alice, 422, "mixed_currencies", order_body((euro, 1), currency="USD"))
    await refused(client, alice, 422, "currency_not_supported", order_body((euro, 1), currency="XXX"))


async def test_order_when_the_total_is_another_one(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    body = order_body((product, 2), expected_total=1999)
    problem = await refused(client, alice, 409, "price_changed", body)
    assert (problem["expected"], problem["actual"]) == (1999, 2000)
    await db.refresh(product)
    assert product.reserved == 0


async def test_order_when_an_amount_is_too_large(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=999_999_999_999, track_inventory=False)
    await refused(client, alice, 422, "amount_out_of_range", order_body((product, 100_000)))


async def test_order_when_a_design_is_named(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice)
    body = order_body((product, 1))
    body["items"][0]["design_id"] = str(uuid7())
    problem = await refused(client, alice, 404, "design_not_found", body)
    assert problem["errors"][0]["pointer"] == "/items/0/design_id"


async def test_order_when_nobody_can_be_written_to(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice)
    problem = await refused(
        client, alice, 422, "customer_email_required", order_body((product, 1), customer={})
    )
    assert problem["errors"][0]["pointer"] == "/customer/email"


WRONG: dict[str, dict[str, Any]] = {
    "price": {"total_amount": 5},
    "no_lines": {"items": []},
    "quantity_zero": {"items": [{"product_id": str(uuid7()), "quantity": 0}]},
    "quantity_float": {"items": [{"product_id": str(uuid7()), "quantity": 1.0}]},
    "quantity_boolean": {"items": [{"product_id": str(uuid7()), "quantity": True}]},
    "quantity_huge": {"items": [{"product_id": str(uuid7()), "quantity": 10**30}]},
    "country": {"shipping_address": {**ADDRESS, "country": "ZZ"}},
    "nul": {"notes": "a\x00b"},
    "surrogate": {"metadata": {"a": "\ud800"}},
    "deep": {"metadata": {"a": [[[[[[[[[1]]]]]]]]]}},
    "large": {"metadata": {"a": "x" * 20_000}},
    "email": {"customer": {**CUSTOMER, "email": "nobody"}},
    "expected_float": {"expected_total": 12.0},
    "checkout_by_hand": {"checkout": {"success_path": "/a", "cancel_path": "/b"}},
}


@pytest.mark.parametrize("name", WRONG)
async def test_body_when_it_is_not_valid(
    client: AsyncClient, db: SystemSession, alice: Persona, name: str
) -> None:
    product = await make_product(db, owner=alice)
    await refused(client, alice, 422, "validation_error", {**order_body((product, 1)), **WRONG[name]})


async def test_metadata_when_postgresql_writes_it_longer(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice)
    body = order_body((product, 1), metadata={"a": [1e300] * 100})
    await refused(client, alice, 422, "metadata_too_large", body)


async def test_act_when_the_state_does_not_allow_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("pending", "process", {}, 409, "invalid_transition"),
        ("pending", "ship", {}, 409, "invalid_transition"),
        ("pending", "deliver", {}, 409, "invalid_transition"),
        ("draft", "mark-paid", {"method": "cash", "amount": 1000}, 409, "invalid_transition"),
        ("confirmed", "mark-paid", {"method": "cash", "amount": 1000}, 409, "invalid_transition"),
        ("cancelled", "mark-paid", {"method": "cash", "amount": 1000}, 409, "invalid_transition"),
        ("pending", "mark-paid", {"method": "cash", "amount": 999}, 422, "amount_mismatch"),
        ("pending", "submit", {}, 409, "invalid_transition"),
        ("processing", "cancel", {"refund": "none"}, 422, "reason_required"),
        ("shipped", "cancel", {}, 409, "invalid_transition"),
        ("delivered", "hold", {}, 409, "invalid_transition"),
        ("pending", "release-hold", {"reason": "x"}, 409, "order_not_on_hold"),
        ("pending", "release-hold", {}, 422, "validation_error"),
        ("pending", "hold", {"version": 2}, 412, "version_mismatch"),
    ]
    for status, verb, body, expect, code in cases:
        order = await make_order(db, owner=alice, status=status)
        await refused(client, alice, expect, code, body, f"/{order.id}/{verb}")


async def test_act_when_the_order_is_on_hold(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    cases = [
        ("confirmed", "manual", "process", {}, "order_on_hold"),
        ("confirmed", "manual", "ship", {}, "order_on_hold"),
        ("pending", "manual", "cancel", {}, "order_on_hold"),
        ("confirmed", "dispute", "hold", {}, "order_on_hold"),
        ("confirmed", "dispute", "release-hold", {"reason": "x"}, "hold_not_releasable"),
    ]
    for status, hold, verb, body, code in cases:
        order = await make_order(db, owner=alice, status=status, hold_reason=hold)
        await refused(client, alice, 409, code, body, f"/{order.id}/{verb}")


async def test_act_when_the_money_is_not_there(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    cases = [
        ("confirmed", "unpaid", "ship", {}, "payment_required"),
        ("confirmed", "authorized", "ship", {}, "payment_not_captured"),
        ("confirmed", "pending", "cancel", {}, "payment_in_progress"),
        ("pending", "pending", "cancel", {}, "payment_in_progress"),
        ("pending", "pending", "mark-paid", {"method": "cash", "amount": 1000}, "payment_in_progress"),
    ]
    for status, payment_status, verb, body, code in cases:
        order = await make_order(db, owner=alice, status=status, payment_status=payment_status, amount_paid=0)
        await refused(client, alice, 409, code, body, f"/{order.id}/{verb}")


async def test_cancel_when_the_order_holds_stock(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, stock=5)
    order = await place_order(client, alice, product, 3)
    for _ in range(2):
        answer = await client.post(
            f"/api/orders/{order['id']}/cancel", headers=alice.headers, json={"reason": "changed her mind"}
        )
        assert (answer.status_code, answer.json()["version"]) == (200, 2)
    told = answer.json()
    assert (told["status"], told["cancel_reason"]) == ("cancelled", "changed her mind")
    assert told["history"][-1]["reason"] == "changed her mind"
    await db.refresh(product)
    assert (product.stock, product.reserved) == (5, 0)


async def test_expired_order_when_it_is_cancelled(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(db, owner=alice, status="expired")
    answer = await client.post(f"/api/orders/{order.id}/cancel", headers=alice.headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


async def test_late_payment_by_hand_when_the_order_was_delivered(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    order = await make_order(
        db,
        owner=alice,
        status="delivered",
        payment_status="unpaid",
        amount_paid=0,
        paid_at=None,
        completed_at=None,
    )
    body = {"method": "cash", "amount": order.total_amount}
    answer = await client.post(f"/api/orders/{order.id}/mark-paid", headers=alice.headers, json=body)
    assert answer.status_code == 200
    assert answer.json()["payment_status"] == "paid"
    assert answer.json()["completed_at"] is not None


async def test_rights_when_a_viewer_or_a_manager_comes(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    order = await make_order(db, owner=alice, internal_notes="difficult")
    path = f"/api/orders/{order.id}"
    seen = (await client.get(path, headers=bob.headers)).json()
    assert (seen["internal_notes"], seen["payments"], seen["refunds"]) == (None, None, [])
    own = (await client.get(path, headers=alice.headers)).json()
    assert (own["internal_notes"], own["payments"]) == ("difficult", [])
    listed = (await client.get("/api/orders", headers=bob.headers)).json()["items"][0]
    assert listed["internal_notes"] is None
    await refused(client, bob, 403, "permission_denied", {}, f"/{order.id}/hold")
    manager = await make_colleague(db, alice, "dora", role="manager")
    paid = {"method": "cash", "amount": 1000}
    await refused(client, manager, 403, "permission_denied", paid, f"/{order.id}/mark-paid")


async def test_moves_when_code_and_database_are_compared(db: SystemSession) -> None:
    rows = (await db.scalars(select(OrderTransition))).all()
    known = {(row.field, row.from_value, row.to_value) for row in rows}
    coded = {
        (field, before, after)
        for field, moves in (("status", STATUS_MOVES), ("payment_status", PAYMENT_STATUS_MOVES))
        for before, targets in moves.items()
        for after in targets
    }
    assert coded == known


PAN = "4242 4242 4242 4242"


@pytest.mark.parametrize("name", ["notes", "internal_notes"])
async def test_order_when_a_card_number_stands_in_its_notes(
    client: AsyncClient, db: SystemSession, alice: Persona, name: str
) -> None:
    """It is kept nowhere, and the answer does not repeat it."""
    text = f"Charge {PAN} please"
    body = order_body((await make_product(db, owner=alice), 1), **{name: text})
    placed = await make_order(db, owner=alice)
    answers = [
        await client.post("/api/orders", headers=alice.headers, json=body),
        await client.patch(f"/api/orders/{placed.id}", headers=alice.headers, json={name: text}),
    ]
    for answer in answers:
        assert (answer.status_code, PAN in answer.text) == (422, False)
        (fault,) = answer.json()["errors"]
        assert (fault["pointer"], fault["code"]) == (f"/{name}", "raw_payment_data_refused")


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("hold", {"reason": PAN}),
        ("cancel", {"reason": PAN}),
        ("refunds", {"amount": 1, "reason": "other", "note": PAN, "reference": "x"}),
    ],
)
async def test_act_when_a_card_number_stands_in_its_reason(
    client: AsyncClient, db: SystemSession, alice: Persona, act: str, body: dict[str, Any]
) -> None:
    order = await make_order(db, owner=alice)
    answer = await client.post(f"/api/orders/{order.id}/{act}", headers=alice.headers, json=body)
    assert answer.status_code == 422
    assert [fault["code"] for fault in answer.json()["errors"]] == ["raw_payment_data_refused"]
