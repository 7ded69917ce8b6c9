"""Payments and refunds with real commits: parallel, duplicated, shuffled, late, slow and killed."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.clients.stripe import StripeClient, sandbox_client, use_client
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.store import FileStore
from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.orders import expire_order
from app.models.billing import Invoice, RevenueEntry
from app.models.orders import Order, OrderPayment, Refund
from app.models.stripe_webhooks import StripeCommand
from app.services.orders.verifying import report_money
from app.services.stripe_webhooks.executing import execute
from app.services.stripe_webhooks.processing import process_event
from tests.factories.billing import grant_plan
from tests.factories.orders import order_body
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague
from tests.support.stripe_calls import RELEASE, start_doomed
from tests.support.stripe_orders import PATHS, act, control, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits

AT_ONCE = 8


async def in_parallel(works: list[Any]) -> None:
    """Run these, a few at a time, in a random order."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(work: Any) -> None:
        async with turns:
            await work

    random.Random(7).shuffle(works)
    await asyncio.gather(*(run(work) for work in works))


async def count(db: SystemSession, model: type[Any], *conditions: Any) -> int:
    return int(await db.scalar(select(func.count()).select_from(model).where(*conditions)) or 0)


@pytest.mark.timeout(400)
async def test_two_hundred_orders_when_expiry_and_payment_are_fired_together(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """The buyers have paid while the orders became due: every one of them is paid, and no piece is lost.

    For those with a page expiry asks Stripe first; of the others some expire, and are taken up again.
    """
    await grant_plan(db, alice.organization_id, "enterprise")
    product = await make_product(db, owner=alice, price=1000, stock=200)
    orders: list[dict[str, Any]] = []
    clerks = [await make_colleague(db, alice, f"clerk{n}", role="admin") for n in range(4)]
    for number in range(200):
        clerk = clerks[number // 50]
        if number % 10 == 0:
            orders.append(await place(client, clerk, product))
            await pay(stripe_sandbox, orders[-1])
            continue
        body = order_body((product, 1), payment_method="checkout")
        orders.append((await client.post("/api/orders", headers=clerk.headers, json=body)).json())
        await stripe_sandbox.call(
            "payment_intents.create",
            amount=1000,
            currency="eur",
            payment_method="pm_card_visa",
            confirm=True,
            metadata={"organization_id": str(alice.organization_id), "order_id": orders[-1]["id"]},
        )
    await db.execute(update(Order).values(reservation_expires_at=clock.now() - timedelta(minutes=1)))
    await db.commit()
    events = await stripe_sandbox.events("payment_intent.succeeded")
    for event in events:
        await stripe_sandbox.send(client, event)
    owner = str(alice.organization_id)
    await in_parallel(
        [process_event(database, event["id"]) for event in events]
        + [process_event(database, event["id"]) for event in events[:20]]
        + [expire_order(database, organization_id=owner, order_id=order["id"]) for order in orders]
    )
    found = await db.execute(select(Order.status, Order.payment_status))
    assert Counter(tuple(row) for row in found) == {("confirmed", "paid"): 200}
    await db.refresh(product)
    assert (product.stock, product.reserved) == (0, 0)
    assert await count(db, OrderPayment, OrderPayment.status == "applied") == 200
    assert await count(db, RevenueEntry, RevenueEntry.entry_type == "charge") == 200
    assert await count(db, Invoice) == 200
    assert await report_money(db) == 0


async def test_pages_when_they_are_closed_while_buyers_pay(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """Whoever is first at Stripe decides: an order is either paid, or expired with a page nobody can pay."""
    product = await make_product(db, owner=alice, price=1000, stock=12)
    orders = [await place(client, alice, product) for _ in range(12)]
    await db.execute(update(Order).values(reservation_expires_at=clock.now() - timedelta(minutes=1)))
    await db.commit()
    paid: set[str] = set()

    async def buy(order: dict[str, Any]) -> None:
        try:
            await pay(stripe_sandbox, order)
        except SandboxError:
            return
        paid.add(order["id"])

    owner = str(alice.organization_id)
    await in_parallel(
        [buy(order) for order in orders]
        + [expire_order(database, organization_id=owner, order_id=order["id"]) for order in orders]
    )
    await settle(client, stripe_sandbox, database)
    rows = await db.execute(select(Order.id, Order.status, Order.payment_status))
    for order_id, status, payment_status in rows:
        expected = ("confirmed", "paid") if str(order_id) in paid else ("expired", "unpaid")
        assert (status, payment_status) == expected
    await db.refresh(product)
    assert (product.stock, product.reserved) == (12 - len(paid), 0)


async def final_rows(db: SystemSession, order_id: str) -> dict[str, Any]:
    """What must not hang on how deliveries came: states, sums, payments, refunds, ledger, documents."""
    order = (
        await db.execute(
            select(Order).where(Order.id == UUID(order_id)).execution_options(populate_existing=True)
        )
    ).scalar_one()
    names = (
        "status",
        "payment_status",
        "hold_reason",
        "amount_paid",
        "amount_refunded",
        "amount_refund_pending",
    )
    payments = await db.execute(
        select(OrderPayment.status, OrderPayment.unapplied_reason, OrderPayment.amount_refunded).where(
            OrderPayment.order_id == order.id
        )
    )
    refunds = await db.execute(
        select(Refund.status, Refund.amount, Refund.source).where(Refund.order_id == order.id)
    )
    ledger = await db.execute(
        select(RevenueEntry.entry_type, RevenueEntry.amount).where(RevenueEntry.order_id == order.id)
    )
    documents = await db.execute(select(Invoice.kind, Invoice.amount).where(Invoice.order_id == order.id))
    return {
        **{name: getattr(order, name) for name in names},
        "payments": Counter(tuple(row) for row in payments),
        "refunds": Counter(tuple(row) for row in refunds),
        "ledger": Counter(tuple(row) for row in ledger),
        "documents": Counter(tuple(row) for row in documents),
    }


async def test_deliveries_when_they_are_duplicated_shuffled_and_delayed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """A declined card, a payment, a refund from the dashboard: the same rows in whatever order it is told."""
    product = await make_product(db, owner=alice, price=12345, stock=9)
    outcomes = []
    for how in ({"order": "sent"}, {"order": "reverse", "times": 2}, {"order": "shuffled", "times": 3}):
        order = await place(client, alice, product)
        await pay(stripe_sandbox, order, "card_declined")
        await pay(stripe_sandbox, order)
        session = await stripe_sandbox.object(order["stripe_checkout_session_id"])
        if how["order"] == "sent":
            await settle(client, stripe_sandbox, database)
        await stripe_sandbox.call("refunds.create", payment_intent=session["payment_intent"], amount=345)
        late = (await stripe_sandbox.events("payment_intent.succeeded"))[-1:]
        await stripe_sandbox.mark_delivered([event["id"] for event in late])
        await settle(client, stripe_sandbox, database, **how)
        for event in late:
            await stripe_sandbox.send(client, event)
        await handle_events(database)
        outcomes.append(await final_rows(db, order["id"]))
    assert outcomes[0]["payment_status"] == "partially_refunded"
    assert outcomes[0]["amount_refunded"] == 345
    assert outcomes == [outcomes[0]] * 3
    assert await report_money(db) == 0


async def test_events_of_one_order_when_they_are_processed_in_parallel(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice, price=12345, stock=9)
    order = await place(client, alice, product)
    await pay(stripe_sandbox, order)
    session = await stripe_sandbox.object(order["stripe_checkout_session_id"])
    await stripe_sandbox.call("refunds.create", payment_intent=session["payment_intent"], amount=345)
    events = await stripe_sandbox.events()
    await stripe_sandbox.deliver(client, order="shuffled")
    await in_parallel([process_event(database, event["id"]) for event in events for _ in range(3)])
    await handle_events(database)
    rows = await final_rows(db, order["id"])
    assert (rows["payment_status"], rows["refunds"]) == (
        "partially_refunded",
        Counter({("succeeded", 345, "stripe"): 1}),
    )
    assert rows["documents"] == Counter({("order", 12345): 1, ("credit_note", 345): 1})


async def test_refunds_when_twenty_are_asked_for_at_once(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """The ninth worked example of the page on money."""
    product = await make_product(db, owner=alice, price=12345, stock=9)
    order = await place(client, alice, product)
    await pay(stripe_sandbox, order)
    await settle(client, stripe_sandbox, database)
    path, body = f"/api/orders/{order['id']}/refunds", {"amount": 5000, "reason": "goodwill"}
    answers = await asyncio.gather(*(client.post(path, headers=alice.headers, json=body) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 2, 422: 18}
    refused = [answer.json() for answer in answers if answer.status_code == 422]
    assert {(problem["code"], problem["refundable"]) for problem in refused} == {
        ("refund_exceeds_paid", 2345)
    }
    await settle(client, stripe_sandbox, database)
    found = [item async for item in stripe_sandbox.client.pages("refunds.list")]
    assert [item["amount"] for item in found] == [5000, 5000]
    await control(stripe_sandbox, f"refunds/{found[0]['id']}/fail")
    await settle(client, stripe_sandbox, database)
    again = await client.post(path, headers=alice.headers, json={"amount": 7346, "reason": "goodwill"})
    assert again.json()["refundable"] == 7345
    assert await report_money(db) == 0


@pytest.fixture
def shared_path(tmp_path: Path) -> Path:
    return tmp_path / "stripe.json"


@pytest.fixture
def shared(shared_path: Path) -> Iterator[StripeClient]:
    """A sandbox in a file, which several processes have in common."""
    client = sandbox_client(Sandbox(FileStore(shared_path), "http://api.luneo.test/sandbox/stripe"))
    before = use_client(client)
    yield client
    use_client(before)


async def test_refund_when_the_worker_is_killed_before_it_records(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    shared: StripeClient,
    shared_path: Path,
) -> None:
    """Stripe has answered, we have not written it down: the next worker finds exactly one refund."""
    assert shared.sandbox is not None
    stripe = StripeSandbox(shared.sandbox, shared)
    order = await place(client, alice, await make_product(db, owner=alice, price=12345))
    await pay(stripe, order)
    await settle(client, stripe, database)
    await act(client, alice, order, "refunds", 201, amount=5000, reason="goodwill")
    command = (
        await db.execute(select(StripeCommand).where(StripeCommand.kind == "refund.create"))
    ).scalar_one()
    url = database.engine.url.render_as_string(hide_password=False)
    process = await asyncio.to_thread(start_doomed, url, shared_path, alice.organization_id, command.id)
    await asyncio.to_thread(process.join, 120)
    assert process.exitcode == -signal.SIGKILL
    told = await read(client, alice, order)
    assert (told["amount_refunded"], told["amount_refund_pending"]) == (0, 5000)
    assert await execute(database, alice.organization_id, command.id) is None
    await db.execute(RELEASE)
    await db.commit()
    assert await execute(database, alice.organization_id, command.id) is not None
    await settle(client, stripe, database, times=2)
    found = [item async for item in shared.pages("refunds.list")]
    assert [(item["amount"], item["status"]) for item in found] == [(5000, "succeeded")]
    told = await read(client, alice, order)
    assert (told["amount_refunded"], told["amount_refund_pending"]) == (5000, 0)
    assert await report_money(db) == 0


async def test_checkouts_when_they_are_asked_for_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    product = await make_product(db, owner=alice)
    body = order_body((product, 1), payment_method="checkout")
    placed = (await client.post("/api/orders", headers=alice.headers, json=body)).json()
    path = f"/api/orders/{placed['id']}/checkout"
    answers = await asyncio.gather(*(client.post(path, headers=alice.headers, json=PATHS) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert [answer.status_code for answer in answers].count(201) >= 1
    found = [item async for item in stripe_sandbox.client.pages("checkout.sessions.list")]
    assert [item["status"] for item in found] == ["open"]
    assert {answer.json()["session_id"] for answer in answers if answer.is_success} == {found[0]["id"]}


async def test_checkout_when_another_request_is_opening_the_page(
    client: AsyncClient, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """All lead to the one page; only a repeat of the same request is told to come back."""
    product = await make_product(db, owner=alice)
    body = order_body((product, 1), payment_method="checkout")
    placed = (await client.post("/api/orders", headers=alice.headers, json=body)).json()
    path = f"/api/orders/{placed['id']}/checkout"
    keys = [{**alice.headers, "Idempotency-Key": key} for key in ("one", "two")]
    with stripe_sandbox.holding_back("/v1/checkout/sessions") as held:
        first = asyncio.ensure_future(client.post(path, headers=keys[0], json=PATHS))
        await held.until(1)
        others = [
            asyncio.ensure_future(client.post(path, headers=headers, json=PATHS))
            for headers in (alice.headers, keys[1])
        ]
        repeat = await client.post(path, headers=keys[0], json=PATHS)
        assert (repeat.status_code, repeat.json()["code"]) == (409, "idempotency_in_progress")
    answers = [await answer for answer in (first, *others)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["session_id"] for answer in answers}) == 1


async def test_other_routes_when_stripe_hangs(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """More requests wait for Stripe than there are connections; none of them holds one."""
    await grant_plan(db, alice.organization_id, "enterprise")
    product = await make_product(db, owner=alice, price=1000, stock=100)
    body = order_body((product, 1), payment_method="checkout", checkout=PATHS)
    await db.close()
    with stripe_sandbox.holding_back("/v1/checkout/sessions", times=25) as held:
        waiting = [
            asyncio.ensure_future(client.post("/api/orders", headers=alice.headers, json=body))
            for _ in range(25)
        ]
        await held.until(25)
        # What single statements keep in hand is given back; what is left would be held by a request.
        await database.reads.close()
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # the pool of an engine
        assert (await client.get("/api/products", headers=alice.headers)).status_code == 200
        assert not any(request.done() for request in waiting)
    answers = await asyncio.gather(*waiting)
    assert Counter(answer.status_code for answer in answers) == {201: 25}
    assert all(states(answer.json()) == ("pending", "unpaid", None) for answer in answers)
