"""Creating, reading, changing and deleting products."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.orders import OrderSettings
from app.models.products import Product, StockMovement
from tests.factories.billing import grant_plan
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

URL = "/api/products"


async def create(client: AsyncClient, persona: Persona, **body: Any) -> Response:
    return await client.post(URL, headers=persona.headers, json={"name": "Bag", "price": 1, **body})


async def change(client: AsyncClient, persona: Persona, product_id: object, **body: Any) -> Response:
    return await client.patch(f"{URL}/{product_id}", headers=persona.headers, json=body)


async def emitted(db: SystemSession) -> list[EventOutbox]:
    """The events so far, oldest first."""
    rows = await db.execute(select(EventOutbox).order_by(EventOutbox.id))
    return [row for row in rows.scalars() if row.type.startswith("product.")]


async def stored(db: SystemSession, product_id: object) -> Product:
    found = await db.execute(
        select(Product).where(Product.id == UUID(str(product_id))).execution_options(populate_existing=True)
    )
    return found.scalar_one()


def problem(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


WHOLE = {
    "name": "Sac d'Été",
    "price": 999_999_999_999,
    "currency": "JPY",
    "slug": "sac",
    "sku": "SAC/1",
    "external_ref": "shop-7",
    "description": "Line\nline",
    "category": "Bags",
    "tax_category": "reduced",
    "weight_g": 0,
    "options": [{"code": "initials", "label": "Initials", "type": "text", "max_length": 3}],
    "metadata": {"a": {"b": [1, 2.5, None, True, "é"]}},
    "status": "active",
    "track_inventory": True,
    "allow_backorder": True,
    "stock": 12,
    "low_stock_threshold": 0,
    "lead_time_days": 365,
}


async def test_create_when_everything_is_sent(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    answer = await create(client, alice, **WHOLE)
    assert answer.status_code == 201, answer.text
    product = answer.json()
    assert answer.headers["location"] == f"{URL}/{product['id']}"
    assert answer.headers["etag"] == '"1"'
    assert {name: product[name] for name in WHOLE if name != "options"} == {
        name: value for name, value in WHOLE.items() if name != "options"
    }
    assert product["options"][0]["code"] == "initials"
    assert product["options"][0]["is_bespoke"] is True
    assert (product["reserved"], product["available"], product["version"]) == (0, 12, 1)
    assert product["user_id"] == str(alice.user_id)
    assert (await client.get(answer.headers["location"], headers=alice.headers)).json() == product
    movement = (await db.execute(select(StockMovement))).scalar_one()
    assert (movement.reason, movement.delta_stock, movement.stock_after) == ("adjust", 12, 12)
    assert (movement.note, movement.actor_type, movement.actor_id) == (
        "initial stock",
        "user",
        str(alice.user_id),
    )
    (event,) = await emitted(db)
    assert (event.type, event.topic, event.is_webhook) == (
        "product.created",
        f"org:{alice.organization_id}",
        True,
    )
    assert f'"product_id":"{product["id"]}"' in event.body
    assert '"stock":12,"reserved":0,"available":12,"version":1' in event.body


async def test_create_when_little_is_sent(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = (await create(client, alice)).json()
    assert (product["currency"], product["status"], product["slug"]) == ("EUR", "draft", "bag")
    assert (product["stock"], product["options"], product["metadata"]) == (0, [], {})
    assert (await db.execute(select(StockMovement))).first() is None


async def test_create_when_orders_are_in_another_currency(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    db.add(OrderSettings(organization_id=alice.organization_id, currency="USD"))
    await db.commit()
    assert (await create(client, alice)).json()["currency"] == "USD"
    assert (await create(client, alice, currency="CHF")).json()["currency"] == "CHF"


async def test_create_when_pieces_are_not_counted(client: AsyncClient, alice: Persona) -> None:
    assert (await create(client, alice, track_inventory=False)).json()["available"] is None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Sac d'Été  №5", "sac-d-ete-no5"),
        ("Cœur & Straße", "coeur-strasse"),
        ("--", "product"),
        ("包", "product"),
        ("x" * 200, "x" * 70),
        ("a" * 69 + " b", "a" * 69),
    ],
)
async def test_slug_when_it_is_made_from_the_name(
    client: AsyncClient, alice: Persona, name: str, slug: str
) -> None:
    made = [(await create(client, alice, name=name)).json()["slug"] for _ in range(3)]
    assert made == [slug, f"{slug}-2", f"{slug}-3"]


async def test_slug_when_a_number_is_free_again(client: AsyncClient, alice: Persona) -> None:
    made = [(await create(client, alice)).json() for _ in range(3)]
    await client.delete(f"{URL}/{made[1]['id']}", headers=alice.headers)
    assert (await create(client, alice)).json()["slug"] == "bag-2"


async def test_slug_when_a_stranger_has_it(client: AsyncClient, alice: Persona, charlie: Persona) -> None:
    assert (await create(client, charlie)).json()["slug"] == "bag"
    assert (await create(client, alice)).json()["slug"] == "bag"


@pytest.mark.commits
async def test_slug_when_many_products_of_one_name_are_created_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await grant_plan(db, alice.organization_id, "enterprise")
    answers = await asyncio.gather(*(create(client, alice) for _ in range(60)))
    assert [answer.status_code for answer in answers] == [201] * 60
    slugs = {answer.json()["slug"] for answer in answers}
    assert slugs == {"bag", *(f"bag-{number}" for number in range(2, 61))}


@pytest.mark.parametrize(
    ("field", "value", "other", "code"),
    [
        ("sku", "A-1", "a-1", "sku_taken"),
        ("slug", "bag", "bag", "slug_taken"),
        ("external_ref", "r", "r", "external_ref_taken"),
    ],
)
async def test_product_when_what_is_unique_is_taken(
    client: AsyncClient, alice: Persona, charlie: Persona, field: str, value: str, other: str, code: str
) -> None:
    assert (await create(client, charlie, **{field: value})).status_code == 201
    first = await create(client, alice, **{field: value})
    assert first.status_code == 201
    assert problem(await create(client, alice, **{field: other})) == (409, code)
    second = (await create(client, alice)).json()
    refused = await change(client, alice, second["id"], version=1, **{field: other})
    assert problem(refused) == (409, code)
    await client.delete(f"{URL}/{first.json()['id']}", headers=alice.headers)
    assert (await change(client, alice, second["id"], version=1, **{field: other})).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\x00"}, "/name"),
        ({"price": -1}, "/price"),
        ({"price": 10**12}, "/price"),
        ({"price": "5"}, "/price"),
        ({"price": 5.0}, "/price"),
        ({"price": True}, "/price"),
        ({"price": None}, "/price"),
        ({"slug": "Bag"}, "/slug"),
        ({"slug": "a--b"}, "/slug"),
        ({"sku": " "}, "/sku"),
        ({"sku": "a\n"}, "/sku"),
        ({"currency": "eur"}, "/currency"),
        ({"weight_g": 1_000_001}, "/weight_g"),
        ({"stock": -1}, "/stock"),
        ({"stock": 10**30}, "/stock"),
        ({"track_inventory": 1}, "/track_inventory"),
        ({"status": "deleted"}, "/status"),
        ({"reserved": 1}, "/reserved"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": {"a": "x" * 16_384}}, "/metadata"),
        ({"metadata": {"a": 10**400}}, "/metadata"),
        ({"options": {}}, "/options"),
        ({"options": [{"code": "a", "label": "A", "type": "sound"}]}, "/options/0"),
        ({"options": [{"code": "a", "label": "A", "type": "number", "max": 1}]}, "/options/0/min"),
        ({"options": [{"code": "a", "label": "A", "type": "text", "text": 1}]}, "/options/0/text"),
        ({"name": "   "}, "/name"),
        ({"name": "\u200b\u200d"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"category": "a\u2066b"}, "/category"),
    ],
)
async def test_create_when_a_field_is_not_valid(
    client: AsyncClient, alice: Persona, db: SystemSession, body: dict[str, Any], pointer: str
) -> None:
    answer = await create(client, alice, **body)
    assert problem(answer) == (422, "validation_error")
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await emitted(db) == []


async def test_metadata_when_it_is_deep_or_no_number(client: AsyncClient, alice: Persona) -> None:
    deep: Any = 1
    for _ in range(9):
        deep = {"a": deep}
    assert problem(await create(client, alice, metadata=deep)) == (422, "validation_error")
    for word in ("NaN", "Infinity", "1e400", '"\\ud800"'):
        raw = f'{{"name": "Bag", "price": 1, "metadata": {{"a": {word}}}}}'
        headers = {**alice.headers, "Content-Type": "application/json"}
        answer = await client.post(URL, headers=headers, content=raw)
        assert answer.status_code in {400, 422}, answer.text


async def test_metadata_when_the_database_writes_it_longer(client: AsyncClient, alice: Persona) -> None:
    answer = await create(client, alice, metadata={"a": [1e-300] * 1500})
    assert problem(answer) == (422, "metadata_too_large")


async def test_create_when_the_currency_is_not_supported(client: AsyncClient, alice: Persona) -> None:
    answer = await create(client, alice, currency="XXX")
    assert problem(answer) == (422, "currency_not_supported")
    assert answer.json()["errors"][0]["pointer"] == "/currency"


async def test_price_when_an_option_makes_it_negative(client: AsyncClient, alice: Persona) -> None:
    cheaper = {"code": "plain", "label": "Plain", "type": "text", "price_delta": -2}
    assert problem(await create(client, alice, options=[cheaper])) == (422, "option_price_below_zero")
    product = (await create(client, alice, price=2, options=[cheaper])).json()
    refused = await change(client, alice, product["id"], version=1, price=1)
    assert problem(refused) == (422, "option_price_below_zero")
    assert (await change(client, alice, product["id"], version=1, price=1, options=[])).status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_update_when_fields_are_sent(
    client: AsyncClient, alice: Persona, db: SystemSession, method: str
) -> None:
    product = (await create(client, alice, sku="A", metadata={"a": 1})).json()
    body = {"name": "Bottle", "sku": None, "price": 1, "metadata": {"a": 2}, "version": 1}
    answer = await client.request(method, f"{URL}/{product['id']}", headers=alice.headers, json=body)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["name"], changed["sku"], changed["metadata"]) == ("Bottle", None, {"a": 2})
    assert changed["version"] == 2
    assert answer.headers["etag"] == '"2"'
    assert changed["slug"] == "bag"
    assert changed["updated_at"] > product["updated_at"]
    event = (await emitted(db))[-1]
    assert event.type == "product.updated"
    assert '"changed":["metadata","name","sku"]' in event.body
    found = await client.get(URL, headers=alice.headers, params={"q": "bottle"})
    assert len(found.json()["items"]) == 1
    assert (await client.get(URL, headers=alice.headers, params={"q": "bag"})).json()["items"] == []


async def test_update_when_nothing_differs(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = (await create(client, alice, **WHOLE)).json()
    same = {name: value for name, value in WHOLE.items() if name != "stock"}
    answer = await change(client, alice, product["id"], version=1, **same)
    assert answer.status_code == 200, answer.text
    assert answer.json() == product
    assert [event.type for event in await emitted(db)] == ["product.created"]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, {}, (422, "version_required")),
        ({"If-Match": "*"}, {}, (422, "version_required")),
        ({}, {"version": 2}, (412, "version_mismatch")),
        ({"If-Match": '"2"'}, {}, (412, "version_mismatch")),
        ({"If-Match": "nonsense"}, {}, (412, "version_mismatch")),
        ({"If-Match": '"1'}, {}, (412, "version_mismatch")),
        ({"If-Match": '"2"'}, {"version": 1}, (412, "version_mismatch")),
        ({"If-Match": '"1"'}, {"version": 2}, (412, "version_mismatch")),
        ({}, {"version": 0}, (422, "validation_error")),
        ({}, {"version": "1"}, (422, "validation_error")),
        ({}, {"version": 1, "stock": 3}, (422, "field_not_writable")),
        ({}, {"version": 1, "reserved": None}, (422, "field_not_writable")),
        ({}, {"version": 1, "name": None}, (422, "validation_error")),
        ({}, {"version": 1, "options": None}, (422, "validation_error")),
        ({}, {"version": 1, "organization_id": str(uuid4())}, (422, "validation_error")),
        ({}, {"version": 1, "currency": "ABC"}, (422, "currency_not_supported")),
    ],
)
async def test_update_when_it_is_refused(
    client: AsyncClient,
    alice: Persona,
    db: SystemSession,
    headers: dict[str, str],
    body: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    product = await make_product(db, owner=alice)
    answer = await client.patch(
        f"{URL}/{product.id}", headers={**alice.headers, **headers}, json={"price": 7, **body}
    )
    assert problem(answer) == expected
    if expected[0] == 412:
        assert answer.json()["version"] == 1
    assert (await stored(db, product.id)).version == 1
    assert await emitted(db) == []


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', "1", '"9", "1"'])
async def test_update_when_the_version_stands_in_if_match(
    client: AsyncClient, alice: Persona, db: SystemSession, etag: str
) -> None:
    product = await make_product(db, owner=alice)
    headers = {**alice.headers, "If-Match": etag}
    answer = await client.patch(f"{URL}/{product.id}", headers=headers, json={"price": 7})
    assert answer.status_code == 200, answer.text


@pytest.mark.commits
async def test_update_when_two_people_save_one_version(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice)
    answers = await asyncio.gather(
        *(change(client, alice, product.id, version=1, price=price) for price in (7, 8))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    row = await stored(db, product.id)
    assert (row.version, row.price) == (2, winner["price"])
    assert [event.type for event in await emitted(db)] == ["product.updated"]


async def test_update_when_orders_hold_more_than_there_is(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    product = await make_product(db, owner=alice, stock=1, reserved=3, allow_backorder=True)
    refused = await change(client, alice, product.id, version=1, allow_backorder=False)
    assert problem(refused) == (409, "stock_below_reserved")


async def test_delete_when_it_is_repeated(client: AsyncClient, alice: Persona, db: SystemSession) -> None:
    product = await make_product(db, owner=alice, stock=3, reserved=2)
    answer = await client.delete(f"{URL}/{product.id}", headers=alice.headers)
    assert (answer.status_code, answer.content) == (204, b"")
    row = await stored(db, product.id)
    assert (row.status, row.reserved, row.version) == ("archived", 2, 2)
    assert row.deleted_at is not None
    assert [event.type for event in await emitted(db)] == ["product.deleted"]
    assert problem(await client.delete(f"{URL}/{product.id}", headers=alice.headers)) == (404, "not_found")
    assert (await client.get(f"{URL}/{product.id}", headers=alice.headers)).status_code == 404
    assert (await client.get(URL, headers=alice.headers)).json()["items"] == []
    assert problem(await change(client, alice, product.id, version=2, price=1)) == (404, "not_found")


REQUESTS = (
    ("GET", "", None),
    ("PATCH", "", {"price": 1, "version": 1}),
    ("PUT", "", {"price": 1, "version": 1}),
    ("DELETE", "", None),
    ("PATCH", "/stock", {"delta": 1, "reason": "found"}),
    ("GET", "/stock/movements", None),
)


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_product_when_a_stranger_asks(
    client: AsyncClient,
    alice: Persona,
    charlie: Persona,
    db: SystemSession,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    product = await make_product(db, owner=alice)
    for product_id in (product.id, uuid4(), "nonsense"):
        answer = await client.request(method, f"{URL}/{product_id}{path}", headers=charlie.headers, json=body)
        assert problem(answer) == (404, "not_found")
    row = await stored(db, product.id)
    assert (row.version, row.stock, row.deleted_at) == (1, 10, None)
    assert (await client.get(URL, headers=charlie.headers)).json()["items"] == []


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("viewer", {("POST", ""), *((method, path) for method, path, _ in REQUESTS[1:])}),
        ("designer", {("PATCH", "/stock"), ("GET", "/stock/movements")}),
        ("manager", set()),
    ],
)
async def test_product_when_the_role_may_not(
    client: AsyncClient, alice: Persona, db: SystemSession, role: str, refused: set[tuple[str, str]]
) -> None:
    dana = await make_colleague(db, alice, "dana", role=role)
    denied = {("POST", "")} if (await create(client, dana)).status_code == 403 else set()
    for method, path, body in REQUESTS:
        product = await make_product(db, owner=alice)
        answer = await client.request(method, f"{URL}/{product.id}{path}", headers=dana.headers, json=body)
        if answer.status_code == 403:
            assert answer.json()["code"] == "permission_denied"
            denied.add((method, path))
        else:
            assert answer.status_code in {200, 204}, answer.text
    assert denied == refused
