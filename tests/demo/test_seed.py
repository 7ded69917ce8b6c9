"""Demo data: what is in it, that it fits together, and that it can be made again and gone on with."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text

from app.clients.stripe import StripeClient, sandbox_client, use_client
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.store import MemoryStore
from app.core import clock
from app.core.config import use_settings
from app.core.database import Database, create_engine
from app.core.ids import uuid7
from app.core.limits import Limiter
from app.demo import DemoRefused, DemoSummary, seed, seeding
from app.demo.catalogue import catalogue
from app.demo.house import TEAM
from app.demo.paying import PAID_ORDERS
from app.demo.plan import plan_orders, steps
from app.models.base import Base
from app.repositories.demo import allow_dating, date_order, date_products
from tests.factories.accounts import make_user
from tests.support.cluster import Cluster

pytestmark = pytest.mark.commits

ORDERS = 100
PRODUCTS = 24


def silently(_: str) -> None:
    """Progress that nobody looks at."""


class Demo:
    """A seeded database and what the run said."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.told: list[str] = []
        self.summary: DemoSummary

    async def rows(self, statement: str) -> list[Any]:
        async with self.database.system(autocommit=True) as session:
            return list((await session.execute(text(statement))).all())

    async def everything(self) -> dict[str, str]:
        """A digest of every table."""
        digest = (
            "SELECT count(*) || ':' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} t"
        )
        return {name: (await self.rows(digest.format(name)))[0][0] for name in Base.metadata.tables}


@pytest.fixture(scope="module", autouse=True)
def stripe() -> Iterator[StripeClient]:
    """A sandbox of Stripe in memory, in which the demo brand pays and is paid."""
    client = sandbox_client(Sandbox(MemoryStore(), "http://api.luneo.test/sandbox/stripe"))
    before = use_client(client)
    yield client
    use_client(before)


@pytest.fixture(scope="module")
async def demo(cluster: Cluster, worker_name: str, stripe: StripeClient) -> AsyncIterator[Demo]:
    """A hundred orders of two dozen products, made once for the tests that only look."""
    name = f"luneo_{worker_name}_demo"
    made = Demo(Database(create_engine(await cluster.clone(name), pool_size=4)))
    made.summary = await seed(made.database, progress=made.told.append, products=PRODUCTS, orders=ORDERS)
    yield made
    await made.database.dispose()
    await cluster.drop(name)


@pytest.fixture
def demo_app(application: FastAPI, demo: Demo) -> Iterator[FastAPI]:
    application.state.database = demo.database
    application.state.limiter = Limiter(None)
    yield application
    application.state.database = None


async def test_run_when_the_database_is_empty(demo: Demo) -> None:
    summary = demo.summary
    assert (summary.people, summary.products, summary.orders) == (len(TEAM), PRODUCTS, ORDERS)
    assert summary.acts > 3 * ORDERS
    assert demo.told[0] == "Demo data: Maison Aurore and its team"
    assert demo.told[-2:] == [
        f"Demo data: {PRODUCTS} products and {ORDERS} orders were made",
        f"Demo data: {PAID_ORDERS} orders were paid in the sandbox of Stripe",
    ]


async def test_events_when_they_lie_far_back(demo: Demo) -> None:
    """Whoever has just started the service does not wait behind the mails of ninety days."""
    late = [
        step for step in steps(plan_orders(catalogue()[:PRODUCTS], ORDERS)) if step.age < timedelta(days=2)
    ]
    found = await demo.rows(
        "SELECT count(*) FILTER (WHERE has_handlers), count(*) FROM event_outbox WHERE type LIKE 'order.%'"
    )
    told, all_there = found[0]
    assert 0 < told <= 2 * (len(late) + PAID_ORDERS)
    assert all_there > 10 * told


async def test_sandbox_when_the_brand_has_paid_and_was_paid(demo: Demo, stripe: StripeClient) -> None:
    paid = await demo.rows(
        "SELECT o.status, o.payment_status, p.stripe_payment_intent_id LIKE 'pi_sbx%' AS is_played,"
        " o.total_amount = o.amount_paid AS is_whole"
        " FROM orders o JOIN order_payments p ON p.order_id = o.id WHERE o.metadata ? 'demo_payment'"
    )
    assert [tuple(row) for row in paid] == PAID_ORDERS * [("confirmed", "paid", True, True)]
    found = await demo.rows(
        "SELECT s.plan_code, s.status, i.status, i.amount, m.last4 FROM subscriptions s"
        " JOIN invoices i ON i.stripe_invoice_id = s.latest_stripe_invoice_id"
        " JOIN payment_methods m ON m.organization_id = s.organization_id AND m.is_default"
    )
    assert [tuple(row) for row in found] == [("premium", "active", "paid", 4700, "4242")]
    sessions = (await stripe.call("checkout.sessions.list"))["data"]
    assert {session["status"] for session in sessions} == {"complete"}
    assert len(sessions) == 1 + PAID_ORDERS
    books = await demo.rows("SELECT account, sum(amount) FROM revenue_tracking GROUP BY 1 ORDER BY 1")
    assert tuple(books[-1]) == ("platform", 4700)


async def test_orders_when_made_are_in_every_state(demo: Demo) -> None:
    found = await demo.rows(
        "SELECT status, payment_status, hold_reason, count(*) FROM orders GROUP BY 1, 2, 3 ORDER BY 1, 3"
    )
    assert [tuple(row) for row in found] == [
        ("cancelled", "unpaid", None, 8),
        ("confirmed", "paid", "manual", 2),
        ("confirmed", "paid", None, 12 + PAID_ORDERS),
        ("delivered", "paid", None, 38),
        ("draft", "unpaid", None, 4),
        ("pending", "unpaid", None, 8),
        ("processing", "paid", None, 14),
        ("shipped", "paid", None, 14),
    ]
    partly = await demo.rows(
        "SELECT o.id FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.status = 'processing'"
        " GROUP BY o.id HAVING sum(fulfilled_quantity) > 0 AND sum(fulfilled_quantity) < sum(quantity)"
    )
    assert len(partly) == 2


async def test_numbers_when_made_have_no_gap_and_follow_time(demo: Demo) -> None:
    found = await demo.rows("SELECT order_number FROM orders WHERE placed_at IS NOT NULL ORDER BY placed_at")
    assert [int(row.order_number[-6:]) for row in found] == list(range(1, ORDERS - 3 + PAID_ORDERS))


async def test_amounts_when_made_are_those_of_the_pricing(demo: Demo) -> None:
    found = await demo.rows(
        "SELECT o.id FROM orders o WHERE (pricing->>'total_amount')::bigint = total_amount"
        " AND (pricing->>'tax_amount')::bigint = tax_amount"
        " AND total_amount - shipping_amount"
        "     = (SELECT sum(i.total_amount) FROM order_items i WHERE i.order_id = o.id)"
        " AND amount_paid = coalesce((SELECT sum(amount) FROM order_payments p WHERE p.order_id = o.id), 0)"
    )
    assert len(found) == ORDERS + PAID_ORDERS
    assert (await demo.rows("SELECT count(*) FROM orders WHERE discount_amount > 0"))[0][0] > 0
    assert (await demo.rows("SELECT count(*) FROM order_items WHERE is_personalised"))[0][0] > ORDERS / 4


async def test_stock_when_made_is_what_orders_left(demo: Demo) -> None:
    found = await demo.rows(
        "SELECT p.*, stock - reserved AS left,"
        " coalesce((SELECT sum(quantity) FROM stock_reservations r"
        "           WHERE r.product_id = p.id AND r.status = 'held'), 0) AS held,"
        " (SELECT coalesce(sum(delta_stock), 0) FROM stock_movements m WHERE m.product_id = p.id) AS moved"
        " FROM products p"
    )
    assert len(found) == PRODUCTS
    assert [row.sku for row in found if row.reserved != row.held or row.stock != row.moved] == []
    assert {row.status for row in found} == {"active", "draft", "archived"}
    tracked = [row for row in found if row.track_inventory and row.status == "active"]
    assert len(tracked) < len([row for row in found if row.status == "active"])
    assert any(row.left == 0 for row in tracked if not row.allow_backorder)
    assert any(0 < row.left <= row.low_stock_threshold for row in tracked)
    assert all(row.allow_backorder for row in tracked if row.left < 0)
    assert {option["type"] for row in found for option in row.options} == {
        "text",
        "choice",
        "color",
        "number",
    }


async def test_times_when_made_spread_over_ninety_days(demo: Demo) -> None:
    now = clock.now()
    history = await demo.rows(
        "SELECT h.order_id, h.created_at, o.created_at AS born, o.updated_at FROM order_status_history h"
        " JOIN orders o ON o.id = h.order_id ORDER BY h.order_id, h.position"
    )
    for before, after in pairwise(history):
        assert before.order_id != after.order_id or before.created_at <= after.created_at
    assert all(row.born <= row.created_at <= row.updated_at <= now for row in history)
    assert now - min(row.created_at for row in history) > timedelta(days=70)
    assert now - max(row.created_at for row in history) < timedelta(days=2)
    movements = await demo.rows(
        "SELECT product_id, stock_after, delta_stock, reserved_after, delta_reserved FROM stock_movements"
        " ORDER BY product_id, created_at, id"
    )
    for before, after in pairwise(movements):
        if before.product_id == after.product_id:
            assert after.stock_after == before.stock_after + after.delta_stock
            assert after.reserved_after == before.reserved_after + after.delta_reserved


@pytest.mark.parametrize("person", TEAM, ids=lambda person: person.role.value)
async def test_sign_in_when_a_person_of_the_demo_team_asks(
    demo: Demo, demo_app: FastAPI, person: Any
) -> None:
    transport = ASGITransport(app=demo_app)
    async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as http:
        body = {"email": person.email, "password": demo.summary.password}
        answer = await http.post("/api/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        opened = answer.json()
        assert opened["organization"]["name"] == "Maison Aurore"
        assert opened["organization"]["role"] == person.role.value
        headers = {"Authorization": f"Bearer {opened['access_token']}"}
        page = (await http.get("/api/products?page=1", headers=headers)).json()
        assert page["total"] == PRODUCTS


async def test_second_run_when_all_is_there_changes_nothing(demo: Demo) -> None:
    before = await demo.everything()
    told: list[str] = []
    again = await seed(demo.database, progress=told.append, products=PRODUCTS, orders=ORDERS)
    assert await demo.everything() == before
    assert (again.people, again.products, again.orders, again.acts) == (0, 0, 0, 0)
    assert told == ["Demo data: Maison Aurore is there already"]


async def test_run_when_others_were_interrupted_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding, "TELL_EVERY", 1)
    whole = plan_orders(catalogue()[:12], 50)
    made = Demo(database)
    lost = 0
    for acts in (0, 40, 80):

        def interrupt(sentence: str, after: str = f" {acts} of ") -> None:
            if after in sentence:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await seed(database, progress=interrupt, products=12, orders=50)
        lost += acts
    summary = await seed(database, progress=silently, products=12, orders=50)
    assert summary.acts == len(steps(whole)) - lost
    found = await made.rows(
        "SELECT (metadata->>'demo_order')::int, status FROM orders WHERE metadata ? 'demo_order'"
        " ORDER BY (metadata->>'demo_order')::int"
    )
    ends = {
        "keep": "draft",
        "place": "pending",
        "pay": "confirmed",
        "hold": "confirmed",
        "cancel": "cancelled",
    }
    ends |= {"process": "processing", "ship_part": "processing", "ship": "shipped", "deliver": "delivered"}
    assert [tuple(row) for row in found] == [(o.number, ends[o.acts[-1][0]]) for o in whole]


async def test_dating_when_rows_are_of_another_organization(demo: Demo) -> None:
    before = await demo.everything()
    order_id = (await demo.rows("SELECT id FROM orders WHERE status = 'delivered' LIMIT 1"))[0].id
    stranger, past = uuid7(), clock.now() - timedelta(days=1000)
    async with demo.database.transaction() as session:
        await allow_dating(session)
        await date_order(session, stranger, order_id, past)
        await date_products(session, stranger, past)
    assert await demo.everything() == before


async def test_runs_when_two_start_at_once_make_it_once(database: Database) -> None:
    first, second = await asyncio.gather(
        *(seed(database, progress=silently, products=12, orders=10) for _ in range(2))
    )
    assert sorted([first.orders, second.orders]) == [0, 10]


async def test_run_when_a_demo_address_is_taken(database: Database, db: Any) -> None:
    await make_user(db, email="viewer@luneo.test")
    with pytest.raises(DemoRefused, match=r"viewer@luneo\.test is taken"):
        await seed(database, progress=silently, products=12, orders=10)
    assert (await Demo(database).rows("SELECT count(*) FROM users"))[0][0] == 1


async def test_run_when_in_production(database: Database) -> None:
    use_settings(environment="production", database_url="postgresql://db.example/luneo")
    try:
        with pytest.raises(DemoRefused, match="not for production"):
            await seed(database, progress=silently)
    finally:
        use_settings(environment="test", database_url=None)
    assert (await Demo(database).rows("SELECT count(*) FROM users"))[0][0] == 0
