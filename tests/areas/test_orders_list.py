"""Finding orders: filters, sorts, pages, aliases, the cost of a list, and that strangers find nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.errors import NotFound
from app.models.billing import DocumentCounter
from app.repositories.billing.usage import Use
from app.repositories.orders.placing import PlacingRepository, Series, Terms
from app.services.orders.reading import OrderReader
from tests.factories.orders import make_order, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona

Recorder = Callable[[], AbstractContextManager[list[str]]]


async def listed(client: AsyncClient, persona: Persona, **query: Any) -> list[str]:
    """The ids of a page, in its order."""
    answer = await client.get("/api/orders", headers=persona.headers, params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_list_when_it_is_filtered(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    now = clock.now()
    pending = await make_order(db, owner=alice, created_at=now - timedelta(days=3))
    paid = await make_order(db, owner=alice, status="confirmed", items=2, created_at=now - timedelta(days=2))
    gone = await make_order(
        db, owner=alice, status="cancelled", email="Bea@example.test", created_at=now - timedelta(days=1)
    )
    held = await make_order(db, owner=alice, hold_reason="manual", created_at=now)
    orders = {"pending": pending, "paid": paid, "gone": gone, "held": held}
    ids = {name: str(order.id) for name, order in orders.items()}
    order_items = (await client.get(f"/api/orders/{paid.order_number}", headers=alice.headers)).json()[
        "order_items"
    ]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["held", "gone", "paid", "pending"]),
        ({"sort": "created_at"}, ["pending", "paid", "gone", "held"]),
        ({"status": "canceled"}, ["gone"]),
        ({"status": ["pending", "confirmed"]}, ["held", "paid", "pending"]),
        ({"payment_status": "paid"}, ["paid"]),
        ({"on_hold": "true"}, ["held"]),
        ({"on_hold": "false"}, ["gone", "paid", "pending"]),
        ({"customer_email": "BEA@example.test"}, ["gone"]),
        ({"q": "bea"}, ["gone"]),
        ({"search": "bea exa"}, ["gone"]),
        ({"q": paid.order_number}, ["paid"]),
        ({"q": str(paid.order_number)[-9:]}, ["paid"]),
        ({"product_id": order_items[1]["product_id"]}, ["paid"]),
        ({"min_total": 1001}, ["paid"]),
        ({"max_total": 1000}, ["held", "gone", "pending"]),
        ({"from": paid.created_at.isoformat()}, ["held", "gone", "paid"]),
        ({"to": paid.created_at.isoformat()}, ["pending"]),
        ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}, ["held", "gone", "paid", "pending"]),
        ({"sort": "-total_amount", "limit": 1}, ["paid"]),
    ]
    for query, expected in cases:
        assert await listed(client, alice, **query) == [ids[name] for name in expected], query


async def test_list_when_it_is_paged(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    made = [str((await make_order(db, owner=alice)).id) for _ in range(5)]
    walked: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        query = {"limit": 2, "sort": "created_at", **cursor}
        page = (await client.get("/api/orders", headers=alice.headers, params=query)).json()
        walked += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(walked) == sorted(made)
    numbered = (await client.get("/api/orders", headers=alice.headers, params={"page": 2, "limit": 2})).json()
    assert (len(numbered["items"]), numbered["total"]) == (2, 5)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"q": "!!"}, "query_empty"),
    ({"sort": "-total_amount", "cursor": "x"}, "sort_needs_page"),
    ({"cursor": "x"}, "cursor_invalid"),
    ({"page": 200, "limit": 100}, "page_too_deep"),
    ({"status": "sold"}, "validation_error"),
    ({"colour": "red"}, "validation_error"),
    ({"q": "a", "search": "b"}, "validation_error"),
    ({"from": "0001-01-01T00:00:00+14:00"}, "validation_error"),
    ({"min_total": 10**30}, "validation_error"),
    ({"sort": "name"}, "validation_error"),
    ({"from": "1700000000"}, "validation_error"),
    ({"to": "2026-01-01T00:00:00"}, "validation_error"),
    ({"limit": "1_0"}, "validation_error"),
    ({"limit": " 1"}, "validation_error"),
    ({"page": "+5"}, "validation_error"),
    ({"min_total": "٥"}, "validation_error"),
    ({"limit": [1, 2]}, "validation_error"),
    ({"q": ["a", "b"]}, "validation_error"),
]


@pytest.mark.parametrize(("query", "code"), REFUSED, ids=lambda value: str(value)[:30])
async def test_list_when_the_query_is_not_valid(
    client: AsyncClient, alice: Persona, query: dict[str, Any], code: str
) -> None:
    answer = await client.get("/api/orders", headers=alice.headers, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_list_when_an_alias_is_used(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    order = await make_order(db, owner=alice)
    await make_order(db, owner=alice, status="cancelled")
    path = "/api/orders/list"
    answers: list[Response] = [
        await client.get(path, headers=alice.headers, params={"status": "pending"}),
        await client.post(path, headers=alice.headers, json={"status": ["pending"]}),
        await client.post(path, headers=alice.headers, json={"status": "pending", "limit": 5}),
    ]
    for answer in answers:
        assert [item["id"] for item in answer.json()["items"]] == [str(order.id)]
    everything = await client.post(path, headers=alice.headers, json={})
    assert len(everything.json()["items"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"limit": True},
        {"limit": "5"},
        {"limit": 5.0},
        {"page": True},
        {"count": 1},
        {"min_total": 1.0},
        {"max_total": "1"},
        {"from": 0},
        {"to": "2026-01-01"},
        {"on_hold": "on"},
        {"on_hold": 1},
        {"product_id": 5},
        {"colour": "red"},
        {"limit": 101},
        {"page": 1, "cursor": "x"},
    ],
    ids=str,
)
async def test_filters_when_the_body_has_them_in_another_type(
    client: AsyncClient, alice: Persona, body: dict[str, Any]
) -> None:
    answer = await client.post("/api/orders/list", headers=alice.headers, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("list", {"GET", "POST"}),
        ("update", {"POST", "PUT", "PATCH"}),
        ("quote", {"POST"}),
        ("settings", {"GET", "PUT", "PATCH"}),
        ("export.csv", {"GET"}),
    ],
)
async def test_address_when_an_order_could_stand_there(
    client: AsyncClient, alice: Persona, path: str, known: set[str]
) -> None:
    """An address of its own is never taken for the number of an order."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - known:
        answer = await client.request(method, f"/api/orders/{path}", headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), method
        assert set(answer.headers["allow"].split(", ")) == known


async def test_cursor_when_it_goes_from_the_query_to_a_body(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    for _ in range(3):
        await make_order(db, owner=alice)
    sent: dict[str, str | int | bool] = {"from": "2020-01-01T00:00:00Z", "min_total": 1, "on_hold": False}
    sent["limit"] = 2
    first = await client.get("/api/orders", headers=alice.headers, params=sent)
    rest = {**sent, "cursor": first.json()["next_cursor"]}
    second = await client.post("/api/orders/list", headers=alice.headers, json=rest)
    assert (len(first.json()["items"]), len(second.json()["items"])) == (2, 1), second.text


async def test_reading_when_there_are_more_rows(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    order = await make_order(db, owner=alice)
    costs = []
    for orders in (1, 10):
        for _ in range(orders):
            large = await make_order(db, owner=alice, items=orders)
        with statements() as seen:
            await listed(client, alice)
        costs.append(len(seen))
    with statements() as seen:
        await client.get(f"/api/orders/{order.id}", headers=alice.headers)
    costs.append(len(seen))
    with statements() as seen:
        await client.get(f"/api/orders/{large.id}", headers=alice.headers)
    costs.append(len(seen))
    assert costs == [2, 2, 2, 2]


async def test_stranger_when_an_order_is_named(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    order = await make_order(db, owner=alice)
    body: dict[str, Any] = {
        "reason": "x",
        "version": 1,
        "notes": "x",
        "lines": [],
        "method": "cash",
        "amount": 1000,
    }
    acts = {
        "submit": (),
        "mark-paid": ("method", "amount"),
        "process": (),
        "hold": ("reason",),
        "release-hold": ("reason",),
        "ship": (),
        "deliver": (),
        "cancel": ("reason",),
    }
    headers = charlie.headers
    for name in (str(order.id), str(order.order_number)):
        path = f"/api/orders/{name}"
        answers = [
            await client.get(path, headers=headers),
            await client.get(f"{path}/history", headers=headers),
            await client.patch(path, headers=headers, json={"notes": "x"}),
            await client.put(path, headers=headers, json={"notes": "x"}),
            await client.delete(path, headers=headers),
            await client.patch(
                "/api/orders/update", headers=headers, json={"order_id": name, "notes": "mine"}
            ),
        ]
        for verb, members in acts.items():
            sent = {member: body[member] for member in members}
            answers.append(await client.post(f"{path}/{verb}", headers=headers, json=sent))
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}
    assert await listed(client, charlie) == []
    assert await listed(client, charlie, q="anna") == []
    await db.refresh(order)
    assert (order.status, order.version, order.notes) == ("pending", 1, None)


async def test_name_when_it_is_no_order(client: AsyncClient, alice: Persona) -> None:
    for name in ("0", "x" * 64, "x" * 65, "ORD-2026-000001", "%00", "ORD-2026-" + "9" * 30, "٣"):
        answer = await client.get(f"/api/orders/{name}", headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), name


async def test_view_when_the_session_is_a_stranger_s(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    order = await make_order(db, owner=alice)
    async with database.owner(charlie.principal) as session:
        with pytest.raises(NotFound):
            await OrderReader(session, charlie.principal).get(str(order.id))
    async with database.owner(alice.principal) as session:
        assert str(order.id) in (await OrderReader(session, alice.principal).get(str(order.id))).body


async def test_write_when_its_rows_name_another_owner(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The one statement beside the row guard: it stamps its own organisation, whatever the rows say."""
    product = await make_product(db, owner=charlie)
    placed = await place_order(client, charlie, product)
    item = dict(placed["order_items"][0])
    year = placed["order_number"].split("-")[1]
    async with database.owner(charlie.principal) as session:
        _, written = await PlacingRepository(session, charlie.organization_id).place(
            {
                "organization_id": alice.organization_id,
                "id": item["product_id"],
                "status": "pending",
                "currency": "EUR",
                "prices_include_tax": True,
                "subtotal": 0,
                "total_amount": 0,
                "pricing": {},
                "placed_at": clock.now(),
            },
            series=Series("ORD", year),
            use=Use(key="one", metric="orders", quantity=1, occurred_at=clock.now(), grace_days=7),
            terms=Terms(["a"], "b"),
            items=[
                {**item, "id": item["product_id"], "order_id": item["product_id"]}
                | {"organization_id": str(alice.organization_id)}
            ],
        )
        await session.commit()
    assert written is not None
    assert written.order_number == f"ORD-{year}-000002"
    assert await listed(client, alice) == []
    assert sorted(await listed(client, charlie)) == sorted([placed["id"], item["product_id"]])


async def test_number_when_more_than_a_million_orders_were_placed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice)
    first = await place_order(client, alice, product)
    prefix = first["order_number"][:-6]
    year = prefix.split("-")[1]
    counter = await db.get_one(DocumentCounter, (alice.organization_id, "order", year))
    counter.last_value = 999_999
    await db.commit()
    assert (await place_order(client, alice, product))["order_number"] == f"{prefix}1000000"
    draft = await client.post(
        "/api/orders", headers=alice.headers, json=order_body((product, 1), status="draft")
    )
    path = f"/api/orders/{draft.json()['id']}/submit"
    assert (await client.post(path, headers=alice.headers)).json()["order_number"] == f"{prefix}1000001"
