"""Invariant: what the hot requests may cost: so many statements, and no more rows than they show."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from httpx import AsyncClient

from app.core.database import Database, SystemSession
from app.services.orders.reading import DOCUMENTS
from tests.factories.orders import make_order, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona

Recorder = Callable[[], AbstractContextManager[list[str]]]

MANY = 100_000

FILL = """
    INSERT INTO orders (organization_id, id, order_number, currency, prices_include_tax, subtotal,
                        total_amount, placed_at, created_at)
    SELECT $1, uuidv7(), 'ORD-2026-' || lpad(n::text, 6, '0'), 'EUR', true, 1, 1, now(),
           now() - make_interval(secs => n)
    FROM generate_series(1, $2::int) AS n
    """


async def test_reads_when_their_statements_are_counted(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    """One for who asks and, where there is data, one for the answer."""
    order = await make_order(db, owner=alice, items=3)
    for path, cost in (
        ("/api/events/types", 1),
        ("/api/orders", 2),
        ("/api/orders?limit=100&sort=-created_at", 2),
        (f"/api/orders/{order.id}", 2),
        (f"/api/orders/{order.order_number}", 2),
    ):
        with statements() as seen:
            assert (await client.get(path, headers=alice.headers)).status_code == 200
        assert len(seen) == cost, (path, seen)


async def test_placing_when_its_statements_are_counted(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    """Who asks; basket; quota, number, order and what belongs to it; event."""
    products = [await make_product(db, owner=alice, stock=100) for _ in range(2)]
    await place_order(client, alice, products[0])
    body = order_body(*((product, 1) for product in products))
    with statements() as seen:
        assert (await client.post("/api/orders", headers=alice.headers, json=body)).status_code == 201
    assert len(seen) == 4, [" ".join(one.split())[:90] for one in seen]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


@pytest.mark.commits
@pytest.mark.slow
async def test_page_when_its_owner_has_many_orders(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The newest page, and one from the middle, read from the index what they show, whatever else there is.

    The plan is the one that every owner gets, since the statement is prepared once.
    """
    await db.fetch("SET LOCAL session_replication_role = replica")
    for owner, count in ((alice, MANY), (charlie, 50)):
        await db.fetch(FILL, owner.organization_id, count)
    await db.commit()
    await db.fetch("ANALYZE orders")
    await db.commit()
    (middle,) = await db.fetch(
        "SELECT created_at, id FROM orders WHERE order_number = $1 AND organization_id = $2",
        f"ORD-2026-{MANY // 2:06}",
        alice.organization_id,
    )
    await db.fetch("SET LOCAL plan_cache_mode = force_generic_plan")
    for place in ((), tuple(middle)):
        name = f"page_{len(place)}"
        await db.fetch(f"PREPARE {name} AS {DOCUMENTS.statement_of_page(20, bool(place))}")
        values = ", ".join(f"'{value}'" for value in (alice.organization_id, True, *place))
        ((plan,),) = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({values})")
        found = list(nodes(plan[0]["Plan"]))
        scans = [node for node in found if node.get("Relation Name") == "orders"]
        assert {node.get("Index Name") for node in scans} == {"orders_list"}
        assert not any("Rows Removed by Filter" in node and node["Rows Removed by Filter"] for node in found)
        assert max(node["Actual Rows"] for node in found) <= 22, found
        assert not any(node["Node Type"] == "Sort" and node["Actual Rows"] > 1 for node in found)
