"""Orders as a CSV file: what stands in it, whose orders, at what cost, and what a reader leaves behind."""

import csv
import io
from datetime import timedelta
from typing import Any

import psutil
import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import text

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.limits import Limiter
from app.repositories.copying import guarded
from app.repositories.orders.exporting import order_export, order_parts
from app.repositories.orders.orders import CONDITIONS
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import ADDRESS, CUSTOMER, make_order, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.scoped import unscoped_tables
from tests.support.streaming import Reader

PATH = "/api/orders/export.csv"

MANY = text(
    """
    INSERT INTO orders (organization_id, id, order_number, currency, prices_include_tax, subtotal,
                        total_amount, placed_at, created_at, customer_email, customer_email_canonical, notes)
    SELECT :organization_id, gen_random_uuid(), 'BIG-2026-' || lpad(n::text, 9, '0'), 'EUR', true, n, n,
           now(), now() - n * interval '1 second', 'b@example.test', 'b@example.test', repeat('x', 400)
    FROM generate_series(1, :count) n
    """
)

MEGABYTE = 1024 * 1024


def rows_of(content: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content, newline="")))


async def exported(client: AsyncClient, persona: Persona, **query: Any) -> list[dict[str, str]]:
    answer = await client.get(PATH, headers=persona.headers, params=query)
    assert answer.status_code == 200, answer.text
    return rows_of(answer.text)


async def test_file_when_it_is_downloaded(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await make_order(db, owner=alice)
    answer = await client.get(PATH, headers=alice.headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = f"orders-{clock.now():%Y-%m-%d}.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["cache-control"] == "no-store"
    assert '"orders_export";q=6;w=3600' in answer.headers["ratelimit-policy"]
    assert answer.content.startswith(b"order_number,id,status,")
    assert len(answer.text.splitlines()) == 2


async def test_row_when_an_order_has_everything(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    bag = await make_product(db, owner=alice, name="Sac à dos", sku="BAG-01", price=1000)
    code = await make_code(db, alice)
    more = {"discount_code": code.code, "billing_address": ADDRESS, "notes": 'Deux lignes,\n"guillemets" : é'}
    order = await place_order(client, alice, bag, 3, **more)
    (row,) = await exported(client, alice)
    for name in ("order_number", "id", "status", "payment_status", "currency", "discount_code", "notes"):
        assert row[name] == order[name], name
    for name in ("subtotal", "discount_amount", "tax_amount", "total_amount", "amount_paid"):
        assert int(row[name]) == order[name], name
    assert (row["units"], row["items"]) == ("3", "3 x BAG-01")
    assert (row["customer_email"], row["customer_name"]) == (CUSTOMER["email"], CUSTOMER["name"])
    assert (row["shipping_city"], row["billing_country"], row["shipping_region"]) == ("Paris", "FR", "")
    assert row["created_at"] == order["created_at"].partition(".")[0] + "Z"
    assert (row["paid_at"], row["hold_reason"]) == ("", "")


async def test_columns_when_they_are_documented(client: AsyncClient, alice: Persona, app: FastAPI) -> None:
    header = (await client.get(PATH, headers=alice.headers)).text.strip().split(",")
    described = app.openapi()["paths"][PATH]["get"]["description"]
    missing = [
        name
        for name in header
        if f"`{name}`" not in described
        and f"`{name.partition('_')[2]}`" not in described.partition("`shipping_`")[2]
    ]
    assert missing == []


GUARDED = [
    ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
    ("+1 call", "'+1 call"),
    ("-2+3", "'-2+3"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\tx", "'\tx"),
    ("'=1+1", "''=1+1"),
    ("'quoted'", "'quoted'"),
    ("\rx", "'\rx"),
    ("+33612345678", "+33612345678"),
    ("-12.5", "-12.5"),
    ("plain = text", "plain = text"),
    ("", ""),
]


@pytest.mark.parametrize(("written", "shown"), GUARDED)
async def test_text_when_a_spreadsheet_might_run_it(
    client: AsyncClient, db: SystemSession, alice: Persona, written: str, shown: str
) -> None:
    address = {**ADDRESS, "line1": written}
    await make_order(
        db, owner=alice, notes=written, customer_name=written, carrier=written, shipping_address=address
    )
    (row,) = await exported(client, alice)
    for name in ("notes", "customer_name", "carrier", "shipping_line1"):
        assert row[name] == shown, name


async def test_export_when_it_is_filtered(
    client: AsyncClient, db: SystemSession, app: FastAPI, alice: Persona
) -> None:
    now = clock.now()
    old = await make_order(db, owner=alice, created_at=now - timedelta(days=3))
    paid = await make_order(db, owner=alice, status="confirmed", items=2, created_at=now - timedelta(days=1))
    held = await make_order(
        db, owner=alice, hold_reason="manual", email="O'Bea$1@example.test", created_at=now
    )
    line = (await client.get(f"/api/orders/{paid.id}", headers=alice.headers)).json()["order_items"][0]
    cases: list[tuple[dict[str, Any], list[Any]]] = [
        ({}, [held, paid, old]),
        ({"status": ["confirmed", "canceled"]}, [paid]),
        ({"payment_status": "unpaid"}, [held, old]),
        ({"on_hold": "true"}, [held]),
        ({"q": "bea"}, [held]),
        ({"q": "'; $1 -- bea"}, [held]),
        ({"customer_email": "o'BEA$1@example.test"}, [held]),
        ({"product_id": line["product_id"]}, [paid]),
        ({"from": paid.created_at.isoformat(), "to": now.isoformat()}, [paid]),
        ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}, [held, paid, old]),
        ({"min_total": 1001}, [paid]),
        ({"max_total": 1000}, [held, old]),
    ]
    for query, expected in cases:
        app.state.limiter = Limiter(None)
        rows = await exported(client, alice, **query)
        assert [row["id"] for row in rows] == [str(order.id) for order in expected], query


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"q": "!!"}, "query_empty"),
    ({"limit": 5}, "validation_error"),
    ({"sort": "created_at"}, "validation_error"),
]


@pytest.mark.parametrize(("query", "code"), REFUSED)
async def test_export_when_the_query_is_not_valid(
    client: AsyncClient, alice: Persona, query: dict[str, Any], code: str
) -> None:
    answer = await client.get(PATH, headers=alice.headers, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_export_when_it_is_the_seventh_of_an_hour(client: AsyncClient, alice: Persona) -> None:
    for _ in range(6):
        assert await exported(client, alice) == []
    assert (await client.get(PATH, headers=alice.headers)).status_code == 429


async def test_export_when_a_stranger_has_orders_too(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """COPY runs beside the row guard, with the guard's own conditions in it."""
    hers, his = await make_order(db, owner=alice, items=2), await make_order(db, owner=charlie, items=3)
    for persona, order, units in ((alice, hers, "2"), (charlie, his, "3"), (alice, hers, "2")):
        rows = await exported(client, persona, customer_email="anna@example.test")
        assert [(row["id"], row["units"]) for row in rows] == [(str(order.id), units)]


async def test_statement_when_every_filter_is_used(alice: Persona, charlie: Persona) -> None:
    """Each use of each table compares its owner with the caller's organisation, which is a bound value."""
    samples: dict[str, Any] = {
        "status": ["pending"],
        "payment_status": ["paid"],
        "on_hold": True,
        "tsquery": "'a':*",
        "product_id": alice.user_id,
        "customer_email": "a@example.test",
        "since": clock.now(),
        "until": clock.now(),
        "min_total": 1,
        "max_total": 2,
    }
    assert set(samples) == set(CONDITIONS), "a filter is new: give it a sample"
    statement = order_export(samples).between((clock.now(), alice.user_id), (clock.now(), alice.user_id))
    for persona in (alice, charlie):
        sql, values = guarded(statement, persona.principal)
        assert unscoped_tables(sql) == []
        assert values.count(persona.organization_id) >= 1
        assert str(persona.organization_id) not in sql
    nobody, _ = guarded(statement, None)
    assert "false" in nobody


@pytest.mark.parametrize("part", [1, 2, 3, 4, 100])
async def test_parts_when_orders_are_made_at_the_same_moment(
    db: SystemSession, database: Database, alice: Persona, part: int
) -> None:
    """However the file is cut, each order stands in it once, and the names of the columns once."""
    now = clock.now()
    orders = [await make_order(db, owner=alice, created_at=now) for _ in range(4)]
    parts = [piece async for piece in order_parts(database, alice.principal, {}, part=part)]
    found = [row["id"] for row in rows_of(b"".join(parts).decode())]
    assert found == sorted((str(order.id) for order in orders), reverse=True)


async def test_export_when_there_is_no_order(client: AsyncClient, alice: Persona) -> None:
    answer = await client.get(PATH, headers=alice.headers)
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 1


OPEN = text(
    """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
    """
)


async def taken_at_rest(app: FastAPI, db: SystemSession, database: Database, persona: Persona) -> int:
    """How many connections the service keeps in hand when nothing is asked of it."""
    await db.close()
    await Reader(app, PATH, persona.headers).read()
    return taken(database)


def taken(database: Database) -> int:
    return int(database.engine.pool.checkedout())  # type: ignore[attr-defined]  # the pool of an engine


@pytest.mark.commits
async def test_reader_when_it_goes_away(
    app: FastAPI, db: SystemSession, database: Database, alice: Persona
) -> None:
    resting = await taken_at_rest(app, db, database, alice)
    await db.execute(MANY, {"organization_id": alice.organization_id, "count": 5000})
    await db.commit()
    reader = Reader(app, PATH, alice.headers)
    await reader.read(leave_after=2)
    assert (reader.status, reader.is_complete) == (200, False)
    assert 2 <= reader.parts <= 3
    assert await db.scalar(OPEN) == 0
    await db.close()
    assert taken(database) == resting


@pytest.mark.slow
@pytest.mark.commits
async def test_memory_when_there_are_a_hundred_thousand_orders(
    app: FastAPI, db: SystemSession, database: Database, alice: Persona
) -> None:
    """The file is many times larger than what the process grows by while it makes it."""
    resting = await taken_at_rest(app, db, database, alice)
    await db.execute(MANY, {"organization_id": alice.organization_id, "count": 100_000})
    await db.commit()
    await db.execute(text("ANALYZE orders"))
    await db.close()
    await Reader(app, PATH, alice.headers).read(leave_after=3)  # What is loaded once is loaded now.
    process = psutil.Process()
    before = process.memory_info().rss
    peak = before
    held: set[int] = set()

    def look() -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)
        held.add(taken(database))

    reader = Reader(app, PATH, alice.headers)
    await reader.read(look)
    assert (reader.status, reader.is_complete) == (200, True)
    assert reader.bytes > 55 * MEGABYTE
    assert peak - before < 40 * MEGABYTE
    assert held == {resting}, "no connection is held while a part is sent"
