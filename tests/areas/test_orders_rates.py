"""Tax rates and shipping rates over HTTP: replaced as a whole, read by pages, and felt by orders."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core.database import SystemSession
from app.models.orders import ShippingRate, TaxRate
from tests.factories.orders import ADDRESS, order_body, place_order
from tests.factories.pricing import make_shipping_rate, make_tax_rate
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

TAXES = "/api/orders/tax-rates"
WAYS = "/api/orders/shipping-rates"

Recorder = Callable[[], AbstractContextManager[list[str]]]


def tax(country: str, rate_bps: int, category: str = "standard", region: str = "") -> dict[str, Any]:
    return {"country": country, "region": region, "tax_category": category, "rate_bps": rate_bps}


def way(code: str, **members: Any) -> dict[str, Any]:
    shown = {"code": code, "name": code.capitalize(), "countries": ["FR"], "amount": 590, "free_from": None}
    return {**shown, "currency": "EUR", "is_active": True, **members}


async def put(client: AsyncClient, persona: Persona, path: str, *items: dict[str, Any]) -> Response:
    """Send the complete list."""
    return await client.put(path, headers=persona.headers, json={"items": list(items)})


async def listed(client: AsyncClient, persona: Persona, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(path, headers=persona.headers, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_taxes_when_they_are_replaced(client: AsyncClient, alice: Persona, bob: Persona) -> None:
    assert (await listed(client, bob, TAXES))["items"] == []
    first = [tax("FR", 550, "food"), tax("FR", 2000), tax("DE", 1900), tax("FR", 210, "food", "Corse")]
    answer = await put(client, alice, TAXES, *first)
    assert answer.status_code == 200, answer.text
    ordered = [first[2], first[0], first[1], first[3]]
    assert answer.json() == {"items": ordered, "next_cursor": None, "total": 4}
    assert (await listed(client, bob, TAXES))["items"] == ordered
    second = [tax("FR", 2100), tax("IT", 2200)]
    assert (await put(client, alice, TAXES, *second)).json()["items"] == second
    assert (await listed(client, bob, TAXES))["items"] == second
    assert (await put(client, alice, TAXES)).json() == {"items": [], "next_cursor": None, "total": 0}
    assert (await listed(client, bob, TAXES))["items"] == []


async def test_ways_when_they_are_replaced(client: AsyncClient, alice: Persona, bob: Persona) -> None:
    first = [way("zebra", free_from=5000), way("air", countries=["FR", "BE"], is_active=False)]
    answer = await put(client, alice, WAYS, *first)
    assert answer.json() == {"items": first, "next_cursor": None, "total": 2}
    assert (await listed(client, bob, WAYS))["items"] == first
    second = [way("air", amount=0), way("sea")]
    assert (await put(client, alice, WAYS, *second)).status_code == 200
    assert (await listed(client, bob, WAYS))["items"] == second


async def test_item_when_only_what_is_due_is_sent(client: AsyncClient, alice: Persona) -> None:
    taxes = await put(client, alice, TAXES, {"country": "FR", "rate_bps": 0})
    assert taxes.json()["items"] == [tax("FR", 0)]
    bare = {"code": "home", "name": "Home", "countries": ["FR"], "amount": 1, "currency": "JPY"}
    ways = await put(client, alice, WAYS, bare)
    assert ways.json()["items"] == [{**bare, "free_from": None, "is_active": True}]


async def test_lists_when_they_are_as_long_as_they_may_be(
    client: AsyncClient, alice: Persona, statements: Recorder
) -> None:
    """As many statements for three hundred rates as for two, and one row more is refused."""
    many = [tax("FR", n, region=f"{n:03}") for n in range(300)]
    costs = []
    await put(client, alice, TAXES, *many[:2])
    for rates in (many[:2], many):
        with statements() as seen:
            assert (await put(client, alice, TAXES, *rates)).json()["items"] == rates
        costs.append(len(seen))
    assert costs == [5, 5]  # Access, lock, delete, insert, list.
    assert (await put(client, alice, TAXES, *many, tax("DE", 1900))).status_code == 422
    walked: list[Any] = []
    page = await listed(client, alice, TAXES, limit=70, count=True)
    assert page["total"] == 300
    walked += page["items"]
    while page["next_cursor"]:
        page = await listed(client, alice, TAXES, limit=70, cursor=page["next_cursor"])
        walked += page["items"]
    assert walked == many
    numbered = await listed(client, alice, TAXES, limit=100, page=3)
    assert (numbered["items"], numbered["total"], numbered["next_cursor"]) == (many[200:], 300, None)
    ways = [way(f"w{n}", countries=["FR", "BE"] * 125) for n in range(50)]
    assert (await put(client, alice, WAYS, *ways)).json()["items"] == ways
    assert (await put(client, alice, WAYS, *ways, way("more"))).status_code == 422
    assert (await listed(client, alice, WAYS, count=True))["total"] == 50


DUPLICATES: list[tuple[str, list[dict[str, Any]], list[str]]] = [
    (TAXES, [tax("FR", 1), tax("FR", 2, region="x"), tax("FR", 3)], ["/items/2"]),
    (TAXES, [tax("FR", 1), tax("FR", 1), tax("DE", 1), tax("FR", 1)], ["/items/1", "/items/3"]),
    (WAYS, [way("home"), way("away"), way("home", countries=["BE"])], ["/items/2"]),
]


@pytest.mark.parametrize(("path", "items", "pointers"), DUPLICATES)
async def test_list_when_a_rate_stands_twice(
    client: AsyncClient, alice: Persona, path: str, items: list[dict[str, Any]], pointers: list[str]
) -> None:
    assert (await put(client, alice, path, items[1])).status_code == 200
    answer = await put(client, alice, path, *items)
    assert (answer.status_code, answer.json()["code"]) == (422, "duplicate_rate")
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert (await listed(client, alice, path))["items"] == [items[1]]


NOT_VALID: list[tuple[str, dict[str, Any], str]] = [
    (TAXES, tax("XX", 1), "/items/0/country"),
    (TAXES, tax("fr", 1), "/items/0/country"),
    (TAXES, tax("FR", -1), "/items/0/rate_bps"),
    (TAXES, tax("FR", 10_001), "/items/0/rate_bps"),
    (TAXES, {**tax("FR", 1), "rate_bps": 20.0}, "/items/0/rate_bps"),
    (TAXES, {**tax("FR", 1), "rate_bps": "20"}, "/items/0/rate_bps"),
    (TAXES, tax("FR", 1, "Food"), "/items/0/tax_category"),
    (TAXES, tax("FR", 1, region="x" * 41), "/items/0/region"),
    (TAXES, {**tax("FR", 1), "region": None}, "/items/0/region"),
    (TAXES, {**tax("FR", 1), "colour": "red"}, "/items/0/colour"),
    (TAXES, {"country": "FR"}, "/items/0/rate_bps"),
    (WAYS, way("Home"), "/items/0/code"),
    (WAYS, way("h" * 41), "/items/0/code"),
    (WAYS, way("home", name=""), "/items/0/name"),
    (WAYS, way("home", name="x" * 121), "/items/0/name"),
    (WAYS, way("home", countries=[]), "/items/0/countries"),
    (WAYS, way("home", countries=["FR"] * 251), "/items/0/countries"),
    (WAYS, way("home", countries=["XX"]), "/items/0/countries/0"),
    (WAYS, way("home", amount=-1), "/items/0/amount"),
    (WAYS, way("home", amount=2**53), "/items/0/amount"),
    (WAYS, way("home", amount=1.5), "/items/0/amount"),
    (WAYS, way("home", free_from=-1), "/items/0/free_from"),
    (WAYS, way("home", currency="XXX"), "/items/0/currency"),
    (WAYS, way("home", is_active="yes"), "/items/0/is_active"),
    (WAYS, way("home", position=1), "/items/0/position"),
]


@pytest.mark.parametrize(("path", "item", "pointer"), NOT_VALID, ids=lambda value: str(value)[-40:])
async def test_item_when_it_is_not_valid(
    client: AsyncClient, alice: Persona, path: str, item: dict[str, Any], pointer: str
) -> None:
    answer = await put(client, alice, path, item)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("path", [TAXES, WAYS])
async def test_list_when_a_cursor_is_of_another(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, path: str
) -> None:
    for n in range(3):
        await make_tax_rate(db, owner=alice)
        await make_shipping_rate(db, owner=alice, position=n)
    cursor = (await listed(client, alice, path, limit=1))["next_cursor"]
    assert len((await listed(client, alice, path, limit=5, cursor=cursor))["items"]) == 2
    other = WAYS if path == TAXES else TAXES
    for persona, address in ((alice, other), (charlie, path)):
        answer = await client.get(address, headers=persona.headers, params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


async def test_list_when_a_stranger_replaces_his_own(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    for path, hers, his in ((TAXES, tax("FR", 1), tax("FR", 2)), (WAYS, way("home"), way("home", amount=1))):
        await put(client, alice, path, hers)
        assert (await listed(client, charlie, path, count=True))["total"] == 0
        await put(client, charlie, path, his)
        await put(client, charlie, path)
        await put(client, charlie, path, his)
        assert (await listed(client, alice, path))["items"] == [hers]
    owners = {alice.organization_id, charlie.organization_id}
    assert set(await db.scalars(select(TaxRate.organization_id))) == owners
    assert set(await db.scalars(select(ShippingRate.organization_id))) == owners


async def test_list_when_a_colleague_may_not_keep_rates(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    for path, item in ((TAXES, tax("FR", 1)), (WAYS, way("home"))):
        assert (await put(client, manager, path, item)).status_code == 403
        assert (await listed(client, manager, path))["items"] == []


async def test_tax_when_region_country_and_default_compete(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The region's rate, else the country's, else the default; for shipping by its own category."""
    await client.patch(
        "/api/orders/settings",
        headers=alice.headers,
        json={"default_tax_rate_bps": 700, "shipping_tax_category": "parcels"},
    )
    rates = [tax("FR", 550, "food"), tax("FR", 210, "food", "Corse"), tax("FR", 800, "parcels")]
    await put(client, alice, TAXES, *rates, tax("DE", 900, "food", "Corse"))
    await put(client, alice, WAYS, way("home", countries=["FR", "DE", "IT"]))
    jam = await make_product(db, owner=alice, tax_category="food")
    bag = await make_product(db, owner=alice)
    places = [
        ("FR", "Corse", (210, 700, 800)),
        ("FR", "Nord", (550, 700, 800)),
        ("FR", None, (550, 700, 800)),
        ("DE", "Corse", (900, 700, 700)),
        ("DE", None, (700, 700, 700)),
        ("IT", "Corse", (700, 700, 700)),
    ]
    for country, region, expected in places:
        body = order_body((jam, 1), (bag, 1), shipping_code="home")
        body["shipping_address"] = {**ADDRESS, "country": country, "region": region}
        answer = await client.post("/api/orders/quote", headers=alice.headers, json=body)
        pricing = answer.json()["pricing"]
        found = [line["tax_rate_bps"] for line in pricing["lines"]]
        assert (*found, pricing["shipping"]["tax_rate_bps"]) == expected, (country, region)


async def test_order_when_prices_exclude_tax(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """The third worked example of the page on money, set up over HTTP; quoted is placed."""
    headers = alice.headers
    await client.patch("/api/orders/settings", headers=headers, json={"prices_include_tax": False})
    await put(client, alice, TAXES, tax("FR", 2000), tax("FR", 1000, "books"))
    await put(client, alice, WAYS, way("home", amount=990))
    code = {"code": "EIGHTH", "kind": "percent", "value": 1250}
    assert (await client.post("/api/orders/discounts", headers=headers, json=code)).status_code == 201
    bag = await make_product(db, owner=alice, price=10_000)
    book = await make_product(db, owner=alice, price=3333, tax_category="books")
    body = order_body((bag, 1), (book, 3), shipping_code="home", discount_code="eighth")
    quoted = (await client.post("/api/orders/quote", headers=headers, json=body)).json()["pricing"]
    placed = await client.post("/api/orders", headers=headers, json={**body, "expected_total": 21_312})
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert order["pricing"] == quoted
    lines = [(line["discount_amount"], line["tax_amount"], line["total_amount"]) for line in quoted["lines"]]
    assert lines == [(1250, 1750, 10_500), (1250, 875, 9624)]
    groups = [tuple(group.values()) for group in quoted["tax_groups"]]
    assert groups == [(1000, 8749, 875, 9624), (2000, 9740, 1948, 11_688)]
    assert (order["subtotal"], order["discount_amount"], order["shipping_tax_amount"]) == (19_999, 2500, 198)
    assert (order["tax_amount"], order["total_amount"]) == (2823, 21_312)


async def test_shipping_when_a_code_makes_it_free(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The seventh worked example of the page on money."""
    headers = alice.headers
    await put(client, alice, WAYS, way("home", free_from=5000), way("off", is_active=False))
    for code in (
        {"code": "LESS", "kind": "fixed", "value": 1500, "currency": "EUR"},
        {"code": "FREE", "kind": "free_shipping"},
    ):
        assert (await client.post("/api/orders/discounts", headers=headers, json=code)).status_code == 201
    product = await make_product(db, owner=alice, price=6000)
    for name, expected in (("LESS", (1500, 590, 5090)), ("FREE", (0, 0, 6000))):
        order = await place_order(client, alice, product, shipping_code="home", discount_code=name)
        assert (order["discount_amount"], order["shipping_amount"], order["total_amount"]) == expected
    body = order_body((product, 1), shipping_code="off")
    refused = await client.post("/api/orders/quote", headers=headers, json=body)
    assert refused.json()["code"] == "shipping_not_available"


async def test_order_when_its_rates_are_replaced(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await put(client, alice, TAXES, tax("FR", 550))
    await put(client, alice, WAYS, way("home"))
    product = await make_product(db, owner=alice, price=1000)
    order = await place_order(client, alice, product, shipping_code="home")
    await put(client, alice, TAXES, tax("FR", 2000))
    await put(client, alice, WAYS)
    kept = (await client.get(f"/api/orders/{order['id']}", headers=alice.headers)).json()
    assert kept["pricing"] == order["pricing"]
    assert kept["order_items"][0]["tax_rate_bps"] == 550


@pytest.mark.commits
@pytest.mark.parametrize("path", [TAXES, WAYS])
async def test_list_when_it_is_replaced_many_times_at_once(
    client: AsyncClient, alice: Persona, path: str
) -> None:
    """One of the lists wins as a whole; they are never mixed, and no request fails."""
    lists = [
        [
            tax("FR", n, region=f"{m}") if path == TAXES else way(f"w{m}", amount=n)
            for m in range(n % 3, n % 3 + 4)
        ]
        for n in range(12)
    ]
    answers = await asyncio.gather(*(put(client, alice, path, *items) for items in lists))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert [answer.json()["items"] for answer in answers] == lists
    assert (await listed(client, alice, path))["items"] in lists
