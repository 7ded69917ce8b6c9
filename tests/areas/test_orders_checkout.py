"""Pages on which orders are paid: opened with the order or later, repeated, refused, and asked about."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.clients.stripe import use_client
from app.core import clock
from app.core.config import Settings, get_settings
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.orders import Order, OrderSettings
from app.models.stripe_webhooks import StripeCommand
from app.services.stripe_webhooks.executing import execute
from tests.factories.orders import order_body
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.stripe_orders import PATHS, act, control, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox


async def sessions(stripe: StripeSandbox) -> list[dict[str, Any]]:
    return [found async for found in stripe.client.pages("checkout.sessions.list")]


async def test_order_when_it_is_created_with_a_checkout(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice, price=12345, stock=5)
    order = await place(client, alice, product, 2)
    assert states(order) == ("pending", "unpaid", None)
    found = await stripe_sandbox.object(order["stripe_checkout_session_id"])
    assert order["checkout_url"] == found["url"]
    assert (found["amount_total"], found["currency"]) == (24690, "eur")
    assert found["metadata"]["order_id"] == order["id"]
    assert found["success_url"] == get_settings().app_url + "/thanks"
    await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert states(told) == ("confirmed", "paid", None)
    assert (told["amount_paid"], told["reservation_expires_at"], told["checkout_url"]) == (24690, None, None)
    assert [(row["method"], row["status"], row["amount"]) for row in told["payments"]] == [
        ("stripe", "applied", 24690)
    ]
    paid = told["history"][-1]
    assert (paid["to_value"], paid["actor_type"]) == ("paid", "stripe")
    assert paid["stripe_event_id"].startswith("evt_")
    await db.refresh(product)
    assert (product.stock, product.reserved) == (3, 0)


@pytest.mark.parametrize("fault", ["http_503", "connection_reset", "timeout_before"])
async def test_order_when_stripe_is_down(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    stripe_sandbox: StripeSandbox,
    fault: str,
) -> None:
    product = await make_product(db, owner=alice, stock=5)
    await control(stripe_sandbox, "faults", fault=fault, times=3)
    body = order_body((product, 1), payment_method="checkout", checkout=PATHS)
    answer = await client.post("/api/orders", headers=alice.headers, json=body)
    assert answer.status_code == 201
    placed = answer.json()
    assert placed["checkout_error"] == {"code": "payment_provider_unavailable"}
    assert (placed["checkout_url"], placed["status"]) == (None, "pending")
    command = (await db.execute(select(StripeCommand))).scalar_one()
    done = await execute(database, alice.organization_id, command.id)
    assert done is not None
    assert done.status == "succeeded"
    assert (await read(client, alice, placed))["checkout_url"] is not None
    assert len(await sessions(stripe_sandbox)) == 1


async def test_order_when_there_is_no_stripe(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "has_stripe_sandbox", False)
    before = use_client(None)
    try:
        product = await make_product(db, owner=alice)
        body = order_body((product, 1), payment_method="checkout", checkout=PATHS)
        answer = await client.post("/api/orders", headers=alice.headers, json=body)
        told = await act(client, alice, answer.json(), "checkout", 503, **PATHS)
    finally:
        use_client(before)
    assert answer.status_code == 201
    assert answer.json()["checkout_error"] == {"code": "billing_not_configured"}
    assert told["code"] == "billing_not_configured"


async def test_create_when_it_is_repeated_with_its_key(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice)
    headers = {**alice.headers, "Idempotency-Key": "order-1"}
    body = order_body((product, 1), payment_method="checkout", checkout=PATHS)
    first, second = [await client.post("/api/orders", headers=headers, json=body) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] == second.json()["id"]
    assert first.json()["checkout_url"] == second.json()["checkout_url"] is not None
    assert len(await sessions(stripe_sandbox)) == 1


async def test_order_when_it_is_free_and_a_checkout_is_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice, price=0)
    order = await place(client, alice, product)
    assert (states(order), order["checkout_url"]) == (("confirmed", "paid", None), None)
    assert await sessions(stripe_sandbox) == []


AMOUNTS = [
    (49, "EUR", "amount_too_small"),
    (100_000_000, "EUR", "amount_too_large"),
    (1234, "KWD", "amount_not_chargeable"),
]


@pytest.mark.parametrize(("price", "currency", "code"), AMOUNTS)
async def test_checkout_when_the_amount_cannot_be_charged(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    stripe_sandbox: StripeSandbox,
    price: int,
    currency: str,
    code: str,
) -> None:
    product = await make_product(db, owner=alice, price=price, currency=currency)
    body = order_body((product, 1), payment_method="checkout")
    answer = await client.post("/api/orders", headers=alice.headers, json={**body, "checkout": PATHS})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await db.scalar(select(func.count()).select_from(Order)) == 0
    placed = (await client.post("/api/orders", headers=alice.headers, json=body)).json()
    problem = await act(client, alice, placed, "checkout", 422, **PATHS)
    assert problem["code"] == code
    assert problem.get("minimum") == (50 if code == "amount_too_small" else None)
    assert await sessions(stripe_sandbox) == []


async def test_checkout_when_it_is_asked_for_again(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice)
    placed = (
        await client.post(
            "/api/orders", headers=alice.headers, json=order_body((product, 1), payment_method="checkout")
        )
    ).json()
    path = f"/api/orders/{placed['id']}/checkout"
    opened = await client.post(path, headers=alice.headers, json=PATHS)
    first = opened.json()
    assert (opened.status_code, opened.headers["location"]) == (201, first["url"])
    again = await act(client, alice, placed, "checkout", 200, **PATHS)
    assert first == again
    soon = clock.now() + timedelta(minutes=4)
    await db.execute(update(Order).values(checkout_expires_at=soon))
    await db.commit()
    other = await act(client, alice, placed, "checkout", 201, **PATHS)
    assert other["session_id"] != first["session_id"]
    assert len(await sessions(stripe_sandbox)) == 2


async def test_checkout_when_the_order_was_changed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """The page of the old total is closed, so that nobody pays it."""
    product = await make_product(db, owner=alice, price=1000)
    order = await place(client, alice, product)
    items = [{"product_id": str(product.id), "quantity": 3}]
    answer = await client.patch(
        f"/api/orders/{order['id']}",
        headers=alice.headers,
        json={"items": items, "version": order["version"]},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["checkout_url"] is None
    opened = await act(client, alice, order, "checkout", 201, **PATHS)
    await settle(client, stripe_sandbox, database)
    found = {item["id"]: item["status"] for item in await sessions(stripe_sandbox)}
    assert found == {order["stripe_checkout_session_id"]: "expired", opened["session_id"]: "open"}
    assert (await read(client, alice, order))["checkout_url"] == opened["url"]


async def test_checkout_when_the_order_is_cancelled(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    order = await place(client, alice, await make_product(db, owner=alice))
    await act(client, alice, order, "cancel")
    await settle(client, stripe_sandbox, database)
    assert [item["status"] for item in await sessions(stripe_sandbox)] == ["expired"]
    assert (await act(client, alice, order, "checkout", 409, **PATHS))["code"] == "invalid_transition"


async def test_checkout_when_the_order_is_too_old(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    assert stripe_sandbox.client
    placed = (
        await client.post(
            "/api/orders", headers=alice.headers, json=order_body((await make_product(db, owner=alice), 1))
        )
    ).json()
    await db.execute(update(Order).values(placed_at=clock.now() - timedelta(hours=23, minutes=45)))
    await db.commit()
    told = await act(client, alice, placed, "checkout", 409, **PATHS)
    assert told["code"] == "payment_window_closed"


@pytest.mark.parametrize("path", ["//evil.test", "thanks", "/a\\b", "/a\x01b"])
async def test_checkout_when_a_path_leads_away(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox, path: str
) -> None:
    order = await place(client, alice, await make_product(db, owner=alice))
    told = await act(client, alice, order, "checkout", 422, success_path=path, cancel_path="/basket")
    assert told["code"] == "return_path_invalid"
    assert [error["pointer"] for error in told["errors"]] == ["/success_path"]
    assert len(await sessions(stripe_sandbox)) == 1


async def test_sync_when_the_buyer_has_paid(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """A viewer may ask; the answer is what the page came to, before any delivery."""
    order = await place(client, alice, await make_product(db, owner=alice))
    assert states(await act(client, bob, order, "checkout/sync")) == ("pending", "unpaid", None)
    await pay(stripe_sandbox, order)
    assert states(await act(client, bob, order, "checkout/sync")) == ("confirmed", "paid", None)
    await control(stripe_sandbox, "faults", fault="http_503", times=3)
    told = await act(client, bob, order, "checkout/sync", 503)
    assert told["code"] == "payment_provider_unavailable"


async def test_routes_when_the_order_is_a_strangers(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, stripe_sandbox: StripeSandbox
) -> None:
    order = await place(client, alice, await make_product(db, owner=alice))
    for name, body in (("checkout", PATHS), ("checkout/sync", {}), ("capture", {})):
        assert (await act(client, charlie, order, name, 404, **body))["code"] == "not_found"
    accept = f"payments/{uuid7()}/accept"
    assert (await act(client, charlie, order, accept, 404, reason="mine"))["code"] == "not_found"
    assert len(await sessions(stripe_sandbox)) == 1


async def test_sepa_when_it_settles_or_fails(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice, stock=9)
    settles, fails = [await place(client, alice, product) for _ in range(2)]
    await pay(stripe_sandbox, settles, "sepa")
    await pay(stripe_sandbox, fails, "sepa_fails")
    await settle(client, stripe_sandbox, database)
    for order in (settles, fails):
        told = await read(client, alice, order)
        assert (told["payment_status"], told["reservation_expires_at"]) == ("pending", None)
    await control(stripe_sandbox, "clock", advance="P6D")
    await settle(client, stripe_sandbox, database)
    assert states(await read(client, alice, settles)) == ("confirmed", "paid", None)
    told = await read(client, alice, fails)
    assert (states(told), told["payment_failure_code"]) == (("pending", "failed", None), "insufficient_funds")
    assert told["reservation_expires_at"] is not None


async def test_card_when_it_is_declined_and_another_is_taken(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    order = await place(client, alice, await make_product(db, owner=alice))
    await pay(stripe_sandbox, order, "insufficient_funds")
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert (states(told), told["payment_failure_code"]) == (("pending", "failed", None), "insufficient_funds")
    await pay(stripe_sandbox, order, "3ds_passed")
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert (states(told), told["payment_failure_code"]) == (("confirmed", "paid", None), None)


async def test_capture_when_the_payment_is_authorised(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    db.add(OrderSettings(organization_id=alice.organization_id, capture_method="manual"))
    await db.commit()
    order = await place(client, alice, await make_product(db, owner=alice, price=5000, stock=3))
    assert (await act(client, alice, order, "capture", 409))["code"] == "nothing_to_capture"
    await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert (states(told), told["amount_paid"]) == (("confirmed", "authorized", None), 0)
    assert (await act(client, alice, order, "ship", 409))["code"] == "payment_not_captured"
    captured = await act(client, alice, order, "capture")
    assert (states(captured), captured["amount_paid"]) == (("confirmed", "paid", None), 5000)
    await settle(client, stripe_sandbox, database)
    again = await read(client, alice, order)
    assert (again["version"], [row["status"] for row in again["payments"]]) == (
        captured["version"],
        ["applied"],
    )


async def test_authorisation_when_it_lapses_or_the_order_is_cancelled(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    db.add(OrderSettings(organization_id=alice.organization_id, capture_method="manual"))
    await db.commit()
    product = await make_product(db, owner=alice, price=5000, stock=3)
    lapses, ends = [await place(client, alice, product) for _ in range(2)]
    for order in (lapses, ends):
        await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    cancelled = await act(client, alice, ends, "cancel", reason="not wanted")
    assert states(cancelled)[0] == "cancelled"
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, ends)
    assert (states(told), told["payments"][0]["status"]) == (("cancelled", "unpaid", None), "voided")
    assert told["refunds"] == []
    await control(stripe_sandbox, "clock", advance="P8D")
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, lapses)
    assert (states(told), told["payments"][0]["status"]) == (
        ("confirmed", "unpaid", "payment_lapsed"),
        "voided",
    )
    opened = await act(client, alice, lapses, "checkout", 201, **PATHS)
    await control(stripe_sandbox, f"sessions/{opened['session_id']}/complete", outcome="card")
    await settle(client, stripe_sandbox, database)
    captured = await act(client, alice, lapses, "capture")
    assert states(captured) == ("confirmed", "paid", None)


async def test_capture_when_stripe_refuses(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    db.add(OrderSettings(organization_id=alice.organization_id, capture_method="manual"))
    await db.commit()
    order = await place(client, alice, await make_product(db, owner=alice, price=5000))
    await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    session = await stripe_sandbox.object(order["stripe_checkout_session_id"])
    await stripe_sandbox.call("payment_intents.cancel", session["payment_intent"])
    assert (await act(client, alice, order, "capture", 402))["code"] == "payment_failed"
    assert states(await read(client, alice, order)) == ("confirmed", "unpaid", "payment_lapsed")
    assert (
        await db.scalar(select(StripeCommand.status).where(StripeCommand.kind == "payment_intent.capture"))
        == "failed"
    )
