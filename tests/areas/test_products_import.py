"""Importing and exporting products: by SKU, all rows or none, and what goes out can come back."""

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.limits import Limiter
from app.models.products import Product, StockMovement
from app.repositories.products.exporting import product_parts
from tests.factories.billing import grant_plan
from tests.factories.products import make_product
from tests.support.personas import Persona

IMPORT = "/api/products/import"
EXPORT = "/api/products/export.csv"

BAG: dict[str, Any] = {
    "sku": "BAG-01",
    "name": "Weekender bag",
    "price": 24900,
    "currency": "EUR",
    "stock": 12,
}
TEXT = {"code": "name", "label": "Name", "type": "text"}


async def send(client: AsyncClient, persona: Persona, *rows: Any, **members: Any) -> Response:
    return await client.post(IMPORT, headers=persona.headers, json={"rows": list(rows), **members})


async def send_csv(client: AsyncClient, persona: Persona, content: str | bytes, **query: Any) -> Response:
    headers = {**persona.headers, "Content-Type": "text/csv"}
    return await client.post(IMPORT, headers=headers, content=content, params=query)


async def imported(client: AsyncClient, persona: Persona, *rows: Any, **members: Any) -> tuple[int, int, int]:
    """How many products a good import made, changed and left."""
    return counted(await send(client, persona, *rows, **members))


def counted(answer: Response) -> tuple[int, int, int]:
    assert answer.status_code == 200, answer.text
    report = answer.json()
    return report["created"], report["updated"], report["unchanged"]


async def faults(client: AsyncClient, persona: Persona, *rows: Any) -> list[tuple[str, str]]:
    """Where the faults of a rejected import are, and which."""
    answer = await send(client, persona, *rows)
    assert (answer.status_code, answer.json()["code"]) == (422, "import_rejected"), answer.text
    return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]


async def products(db: SystemSession) -> list[Product]:
    statement = select(Product).order_by(Product.sku).execution_options(populate_existing=True)
    return list((await db.scalars(statement)).all())


async def test_import_when_products_are_new(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    strap = {
        "sku": "STRAP",
        "name": "Sangle",
        "price": 0,
        "options": [TEXT],
        "metadata": {"a": 1},
        "status": "active",
    }
    assert await imported(client, alice, BAG, strap) == (2, 0, 0)
    bag, band = await products(db)
    assert (bag.name, bag.price, bag.currency, bag.slug) == ("Weekender bag", 24900, "EUR", "weekender-bag")
    assert (bag.stock, bag.status, bag.version, bag.user_id) == (12, "draft", 1, alice.user_id)
    assert (band.options[0]["code"], band.metadata_, band.currency) == ("name", {"a": 1}, "EUR")
    (move,) = (await db.scalars(select(StockMovement))).all()
    assert (move.reason, move.delta_stock, move.stock_after, move.product_id) == ("import", 12, 12, bag.id)
    told = (await db.scalars(select(EventOutbox.type))).all()
    assert told == ["product.created"] * 2
    found = await client.get("/api/products", headers=alice.headers, params={"q": "weekender bag-01"})
    assert [item["sku"] for item in found.json()["items"]] == ["BAG-01"]


async def test_import_when_products_are_known(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """What a row does not name stays; what does not differ is not written."""
    await make_product(db, owner=alice, sku="BAG-01", name="Old", price=100, stock=3, category="Bags")
    await make_product(db, owner=alice, sku="HAT", name="Hat", price=700, stock=1)
    await make_product(db, owner=alice, sku="PEN", name="Pen", price=50, stock=9)
    rows = [
        {"sku": "bag-01", "name": "New bag", "price": 120},
        {"sku": "HAT", "stock": 4},
        {"sku": "PEN", "price": 50},
    ]
    assert await imported(client, alice, *rows) == (0, 2, 1)
    bag, hat, pen = await products(db)
    assert (bag.sku, bag.name, bag.price, bag.category, bag.stock, bag.version) == (
        "BAG-01",
        "New bag",
        120,
        "Bags",
        3,
        2,
    )
    assert (hat.stock, hat.version, pen.version) == (4, 1, 1)
    moves = (await db.execute(select(StockMovement.reason, StockMovement.delta_stock))).all()
    assert moves == [("import", 3)]
    (body,) = (await db.scalars(select(EventOutbox.body))).all()
    assert json.loads(body)["data"]["changed"] == ["name", "price"]
    for words, count in (("new", 1), ("old", 0), ("bags", 1)):
        page = (await client.get("/api/products", headers=alice.headers, params={"q": words})).json()
        assert len(page["items"]) == count, words
    assert await imported(client, alice, *rows) == (0, 0, 3)


async def test_import_when_a_null_is_sent(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await make_product(db, owner=alice, sku="BAG-01", category="Bags", description="Long")
    assert await imported(client, alice, {"sku": "BAG-01", "category": None}) == (0, 1, 0)
    (bag,) = await products(db)
    assert (bag.category, bag.description) == (None, "Long")


async def test_import_when_it_is_only_tried(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await make_product(db, owner=alice, sku="HAT", price=700)
    answer = await send(client, alice, BAG, {"sku": "HAT", "price": 800}, dry_run=True)
    assert answer.json() == {"created": 1, "updated": 1, "unchanged": 0, "dry_run": True}
    (hat,) = await products(db)
    assert (hat.price, hat.version) == (700, 1)
    assert await db.scalar(select(func.count()).select_from(EventOutbox)) == 0
    assert (await send(client, alice, {"sku": "NEW"}, dry_run=True)).json()["code"] == "import_rejected"


async def test_import_when_the_plan_has_no_room_for_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Trying it says so as well; what is only changed needs no room."""
    await make_product(db, owner=alice, sku="OLD", price=700)
    rows = [{"sku": f"S{n}", "name": "Bag", "price": 1} for n in range(10)]
    for dry_run in (True, False):
        answer = await send(client, alice, *rows, dry_run=dry_run)
        assert (answer.status_code, answer.json()["code"]) == (402, "plan_limit_reached")
        assert (answer.json()["used"], answer.json()["requested"]) == (1, 10)
    assert await imported(client, alice, {"sku": "OLD", "price": 800}, *rows[:9]) == (9, 1, 0)


async def test_import_when_some_rows_are_bad(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """Every fault of every row is named, and nothing is written."""
    await make_product(db, owner=alice, sku="HELD", stock=5, reserved=4)
    await make_product(db, owner=alice, sku="FREE", stock=0, track_inventory=False)
    await make_product(db, owner=alice, sku="OTHER", slug="taken", external_ref="ext-1")
    cases: list[tuple[Any, list[tuple[str, str]]]] = [
        (BAG, []),
        ({"sku": "A", "name": "A"}, [("price", "required")]),
        ({"sku": "B", "name": "B", "price": -1}, [("price", "greater_than_equal")]),
        ({"sku": "C", "name": "C", "price": "1"}, [("price", "invalid")]),
        ({"name": "D", "price": 1}, [("sku", "required")]),
        ({"sku": "bag-01", "price": 1}, [("sku", "sku_repeated")]),
        ({"sku": "E", "name": "E", "price": 1, "stock": -5}, [("stock", "greater_than_equal")]),
        ({"sku": "F", "name": "F", "price": 1, "currency": "XXX"}, [("currency", "currency_not_supported")]),
        ({"sku": "G", "name": "G", "price": 1, "slug": "taken"}, [("slug", "slug_taken")]),
        (
            {"sku": "H", "name": "H", "price": 1, "external_ref": "ext-1"},
            [("external_ref", "external_ref_taken")],
        ),
        ({"sku": "I", "name": "I", "price": 1, "colour": "red"}, [("colour", "extra_forbidden")]),
        (
            {"sku": "J", "name": "J", "price": 1, "options": [{**TEXT, "price_delta": -2, "required": True}]},
            [("options", "option_price_below_zero")],
        ),
        ({"sku": "HELD", "stock": 3}, [("stock", "stock_below_reserved")]),
        ({"sku": "FREE", "stock": 3}, [("stock", "inventory_not_tracked")]),
        ({"sku": "K", "name": "K", "price": 1, "slug": "twin"}, []),
        ({"sku": "L", "name": "L", "price": 1, "slug": "twin"}, [("slug", "slug_taken")]),
        ({"sku": "M", "name": "M\x01", "price": 1}, [("name", "not_one_line")]),
        ("text", [("", "model_type")]),
    ]
    found = await faults(client, alice, *(row for row, _ in cases))
    expected = [
        (f"/rows/{number}/{name}".rstrip("/"), code)
        for number, (_, wrong) in enumerate(cases)
        for name, code in wrong
    ]
    assert found == expected
    assert [product.sku for product in await products(db)] == ["FREE", "HELD", "OTHER"]
    assert await db.scalar(select(func.count()).select_from(EventOutbox)) == 0


async def test_slugs_when_names_are_alike(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await make_product(db, owner=alice, sku="OLD", name="Bag", slug="bag-2")
    rows = [{"sku": f"N{n}", "name": "Bag", "price": 1} for n in range(3)]
    rows.append({"sku": "N3", "name": "Sac", "price": 1, "slug": "bag-3"})
    assert await imported(client, alice, *rows) == (4, 0, 0)
    assert sorted(product.slug for product in await products(db)) == [
        "bag",
        "bag-2",
        "bag-3",
        "bag-4",
        "bag-5",
    ]


async def test_stock_when_it_runs_low_by_an_import(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_product(db, owner=alice, sku="HAT", stock=9, low_stock_threshold=5)
    await imported(client, alice, {"sku": "HAT", "stock": 0})
    assert set((await db.scalars(select(EventOutbox.type))).all()) == {
        "product.stock_low",
        "product.out_of_stock",
    }


async def test_import_when_a_stranger_has_the_same_names(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    his = await make_product(db, owner=charlie, sku="BAG-01", slug="weekender-bag", external_ref="x", price=1)
    row = {**BAG, "external_ref": "x"}
    assert await imported(client, alice, row) == (1, 0, 0)
    assert await imported(client, alice, {**row, "price": 5}) == (0, 1, 0)
    await db.refresh(his)
    assert (his.price, his.version, his.stock) == (1, 1, 10)
    hers = (await client.get("/api/products", headers=alice.headers)).json()["items"]
    assert [(item["slug"], item["price"]) for item in hers] == [("weekender-bag", 5)]


async def test_import_when_a_deleted_product_had_the_sku(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    gone = await make_product(db, owner=alice, sku="BAG-01", slug="weekender-bag")
    await client.delete(f"/api/products/{gone.id}", headers=alice.headers)
    assert await imported(client, alice, BAG) == (1, 0, 0)


async def test_import_when_its_cost_is_counted(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    await grant_plan(db, alice.organization_id, "enterprise")
    assert await imported(client, alice) == (0, 0, 0)  # The order settings are made now.
    counts = []
    for size in (2, 40):
        rows = [
            {"sku": f"S{size}-{n}", "name": f"Product {n}", "price": n, "stock": n + 1} for n in range(size)
        ]
        for wanted in ((size, 0, 0), (0, size, 0)):
            with statements() as seen:
                assert await imported(client, alice, *rows) == wanted
            counts.append(len(seen))
            rows = [{**row, "price": 99, "stock": 99} for row in rows]
    assert counts[0] == counts[2]
    assert counts[1] == counts[3]


async def test_import_when_there_are_too_many_rows(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "product_import_max_rows", 3)
    rows = [{"sku": f"S{n}", "name": "x", "price": 1} for n in range(4)]
    assert (await send(client, alice, *rows)).json()["code"] == "too_many_rows"
    lines = "sku,name,price\n" + "".join(f"S{n},x,1\n" for n in range(4))
    assert (await send_csv(client, alice, lines)).json()["code"] == "too_many_rows"
    assert await imported(client, alice, *rows[:3]) == (3, 0, 0)


async def test_import_when_it_is_large(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """Five hundred rows with everything in them, made and then changed."""
    await grant_plan(db, alice.organization_id, "enterprise")
    rows = [
        {
            **BAG,
            "sku": f"S{n}",
            "slug": f"s-{n}",
            "external_ref": f"r{n}",
            "options": [TEXT],
            "category": "Bags",
        }
        for n in range(500)
    ]
    assert await imported(client, alice, *rows) == (500, 0, 0)
    changed = [{**row, "price": 1, "stock": 1} for row in rows]
    assert await imported(client, alice, *changed) == (0, 500, 0)
    assert (await db.execute(select(func.sum(Product.price), func.sum(Product.stock)))).one() == (500, 500)
    too_large = await send(
        client, alice, *({**BAG, "sku": f"S{n}", "description": "x" * 3000} for n in range(400))
    )
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")


async def test_csv_when_it_is_imported(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    lines = (
        "sku;name;price;currency;stock;category;track_inventory;options;metadata\r\n"
        'BAG-01;"Sac ""week-end""";24900;EUR;12;;TRUE;'
        '"[{""code"": ""n"", ""label"": ""N"", ""type"": ""text""}]";{}\r\n'
        "\r\n"
        "STRAP;'=Sangle;900;EUR;;Cuir;false;;\r\n"
    )
    tried = await send_csv(client, alice, lines.encode("utf-8-sig"), dry_run="true")
    assert tried.json() == {"created": 2, "updated": 0, "unchanged": 0, "dry_run": True}
    assert counted(await send_csv(client, alice, lines.encode("utf-8-sig"))) == (2, 0, 0)
    bag, strap = await products(db)
    assert (bag.name, bag.price, bag.stock, bag.category) == ('Sac "week-end"', 24900, 12, None)
    assert (bag.track_inventory, bag.options[0]["code"]) == (True, "n")
    assert (strap.name, strap.stock, strap.category, strap.track_inventory) == ("=Sangle", 0, "Cuir", False)


BAD_FILES: list[tuple[bytes, str, str, str]] = [
    (b"sku,name,price\nA,caf\xe9,1\n", "validation_error", "/rows", "csv_invalid"),
    (b"sku,name,price,colour\nA,a,1,red\n", "validation_error", "/rows", "csv_invalid"),
    (b"sku,name,sku\nA,a,B\n", "validation_error", "/rows", "csv_invalid"),
    (b"sku,name,price\nA,a,1,2\n", "validation_error", "/rows", "csv_invalid"),
    (b'sku,name,price\nA,"a" b,1\n', "validation_error", "/rows", "csv_invalid"),
    (b"sku,name,price\nA,a,1.5\n", "import_rejected", "/rows/0/price", "invalid"),
    (b"sku,name,price\nA,a," + b"9" * 5000 + b"\n", "import_rejected", "/rows/0/price", "invalid"),
    (
        b"sku,name,price,track_inventory\nA,a,1,maybe\n",
        "import_rejected",
        "/rows/0/track_inventory",
        "bool_type",
    ),
    (b"sku,name,price,options\nA,a,1,[\n", "import_rejected", "/rows/0/options", "list_type"),
    (
        b"sku,name,price,options\nA,a,1," + b"[" * 100_000 + b"\n",
        "import_rejected",
        "/rows/0/options",
        "list_type",
    ),
    (
        b'sku,name,price,metadata\nA,a,1,"{""a"": ""\\u0000""}"\n',
        "import_rejected",
        "/rows/0/metadata/a",
        "invalid",
    ),
    (b"sku,name,price\nA,a\x00,1\n", "import_rejected", "/rows/0/name", "invalid"),
    (b"name,price\na,1\n", "import_rejected", "/rows/0/sku", "required"),
]


@pytest.mark.parametrize(
    ("content", "code", "pointer", "fault"), BAD_FILES, ids=lambda value: str(value)[:40]
)
async def test_csv_when_it_is_not_valid(
    client: AsyncClient, alice: Persona, content: bytes, code: str, pointer: str, fault: str
) -> None:
    answer = await send_csv(client, alice, content)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code), answer.text
    assert (pointer, fault) in [(item["pointer"], item["code"]) for item in problem["errors"]]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", ""]
)
async def test_import_when_the_body_is_of_another_type(
    client: AsyncClient, alice: Persona, media_type: str
) -> None:
    headers = {**alice.headers, "Content-Type": media_type}
    answer = await client.post(IMPORT, headers=headers, content=b"sku,name,price\nA,a,1\n")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_import_when_nothing_is_sent(client: AsyncClient, alice: Persona) -> None:
    assert await imported(client, alice) == (0, 0, 0)
    assert counted(await send_csv(client, alice, b"sku,name,price\n")) == (0, 0, 0)
    empty = await send_csv(client, alice, b"")
    assert (empty.status_code, empty.json()["code"]) == (422, "validation_error")


async def test_import_when_the_body_has_another_shape(client: AsyncClient, alice: Persona) -> None:
    for content in (b"[]", b"{}", b'{"rows": 1}', b'{"rows": [], "dry_run": 1}'):
        headers = {**alice.headers, "Content-Type": "application/json"}
        answer = await client.post(IMPORT, headers=headers, content=content)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), content


WIDE: list[dict[str, Any]] = [
    {"sku": "ONE", "name": "=cmd()", "price": 1, "description": 'Ligne 1\n"Ligne 2"; é', "options": [TEXT]},
    {"sku": "TWO", "name": "- two", "price": 0, "metadata": {"a": [1, "x"]}, "track_inventory": False},
    {"sku": "APO", "name": "'=a", "price": 3, "category": "''-4"},
    {"sku": "TRE", "name": "-3", "price": 3, "category": "+1", "lead_time_days": 3, "external_ref": "@x"},
    {**BAG, "allow_backorder": True, "weight_g": 5, "low_stock_threshold": 2, "status": "active"},
]


async def test_export_when_it_is_sent_back(client: AsyncClient, alice: Persona) -> None:
    """A file that went out changes nothing when it comes back."""
    assert await imported(client, alice, *WIDE) == (5, 0, 0)
    answer = await client.get(EXPORT, headers=alice.headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="products-')
    assert counted(await send_csv(client, alice, answer.content)) == (0, 0, 5)


async def test_export_when_somebody_else_imports_it(
    client: AsyncClient, alice: Persona, charlie: Persona
) -> None:
    """It makes the same products there."""
    await imported(client, alice, *WIDE)
    file = (await client.get(EXPORT, headers=alice.headers)).content
    assert counted(await send_csv(client, charlie, file)) == (5, 0, 0)
    apart = dict.fromkeys(("id", "user_id", "created_at", "updated_at"))
    lists = []
    for persona in (alice, charlie):
        page = (await client.get("/api/products", headers=persona.headers, params={"sort": "name"})).json()
        lists.append([{**item, **apart} for item in page["items"]])
    assert lists[0] == lists[1]


async def test_export_when_a_filter_is_asked_for_that_it_does_not_have(
    client: AsyncClient, alice: Persona
) -> None:
    """Everything would come, and be taken for what was asked for."""
    answer = await client.get("/api/products/export.csv?status=archived", headers=alice.headers)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/status"]


async def test_export_when_it_is_read(
    client: AsyncClient, db: SystemSession, app: FastAPI, alice: Persona, charlie: Persona
) -> None:
    await make_product(db, owner=charlie, sku="HIS")
    gone = await make_product(db, owner=alice, sku="GONE")
    await client.delete(f"/api/products/{gone.id}", headers=alice.headers)
    await make_product(db, owner=alice, sku="ONE", name="@Bag", stock=5, reserved=2)
    answer = await client.get(EXPORT, headers=alice.headers)
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["sku"], row["name"], row["stock"], row["available"]) == ("ONE", "'@Bag", "5", "3")
    assert (row["track_inventory"], row["options"], row["metadata"]) == ("true", "[]", "{}")
    described = app.openapi()["paths"][EXPORT]["get"]["description"]
    assert [name for name in row if f"`{name}`" not in described] == []


@pytest.mark.parametrize(("part", "most", "count"), [(2, 3, 3), (2, 4, 4), (3, 100, 5), (5, 5, 5), (1, 1, 1)])
async def test_export_when_there_are_more_products_than_it_takes(
    db: SystemSession, database: Database, alice: Persona, part: int, most: int, count: int
) -> None:
    made = [str((await make_product(db, owner=alice)).id) for _ in range(5)]
    parts = [piece async for piece in product_parts(database, alice.principal, part=part, most=most)]
    rows = list(csv.DictReader(io.StringIO(b"".join(parts).decode())))
    assert [row["id"] for row in rows] == made[::-1][:count]


async def test_limits_when_they_are_reached(client: AsyncClient, app: FastAPI, alice: Persona) -> None:
    exports = [(await client.get(EXPORT, headers=alice.headers)).status_code for _ in range(7)]
    assert exports == [200] * 6 + [429]
    app.state.limiter = Limiter(None)
    imports = [(await send(client, alice)).status_code for _ in range(7)]
    assert imports == [200] * 6 + [429]


async def test_import_when_the_key_is_sent_again(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    headers = {**alice.headers, "Idempotency-Key": "import-1"}
    first = await client.post(IMPORT, headers=headers, json={"rows": [BAG]})
    again = await client.post(IMPORT, headers=headers, json={"rows": [BAG]})
    assert counted(first) == counted(again) == (1, 0, 0)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await products(db)) == 1


@pytest.mark.commits
async def test_imports_when_the_same_products_come_together(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Each product is made once, under one slug; who was slower finds nothing left to do."""
    await grant_plan(db, alice.organization_id, "enterprise")
    await imported(client, alice)
    rows = [{**BAG, "sku": f"S{n}"} for n in range(30)]
    answers = await asyncio.gather(*(send(client, alice, *rows[::step]) for step in (1, -1, 1, -1)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["created"] for answer in answers) == [0, 0, 0, 30]
    assert len({product.slug for product in await products(db)}) == 30
    assert await db.scalar(select(func.sum(StockMovement.delta_stock))) == 30 * 12
