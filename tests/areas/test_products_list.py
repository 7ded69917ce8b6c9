"""The list of products: filters, search, orders, pages, and what it costs."""

from collections.abc import Mapping
from typing import Any

import pytest
from httpx import AsyncClient

from app.core.config import get_settings
from app.core.database import SystemSession
from tests.factories.products import make_product
from tests.support.personas import Persona

URL = "/api/products"


async def names(client: AsyncClient, persona: Persona, **params: Any) -> list[str]:
    answer = await client.get(URL, headers=persona.headers, params=params)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


@pytest.fixture
async def shelf(db: SystemSession, alice: Persona) -> None:
    """Four products that differ in everything that can be asked for, made one after the other."""
    await make_product(db, owner=alice, name="Bag", price=300, sku="BAG-1", category="Bags", slug="bag")
    await make_product(db, owner=alice, name="Cup", price=100, stock=0, status="draft", category="Home")
    await make_product(db, owner=alice, name="Aprón", price=200, track_inventory=False, stock=0)
    await make_product(
        db, owner=alice, name="Lamp", price=400, stock=0, allow_backorder=True, status="archived"
    )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["Lamp", "Aprón", "Cup", "Bag"]),
        ({"status": "active"}, ["Aprón", "Bag"]),
        ({"status": ["draft", "archived"]}, ["Lamp", "Cup"]),
        ({"category": "Bags"}, ["Bag"]),
        ({"category": "bags"}, []),
        ({"sku": "bag-1"}, ["Bag"]),
        ({"sku": "bag"}, []),
        ({"slug": "bag"}, ["Bag"]),
        ({"in_stock": True}, ["Lamp", "Aprón", "Bag"]),
        ({"in_stock": False}, ["Cup"]),
        ({"price_min": 200, "price_max": 300}, ["Aprón", "Bag"]),
        ({"price_min": 301, "price_max": 300}, []),
        ({"q": "lam"}, ["Lamp"]),
        ({"q": "home", "status": "draft"}, ["Cup"]),
        ({"q": "BAG-1"}, ["Bag"]),
        ({"sort": "created_at"}, ["Bag", "Cup", "Aprón", "Lamp"]),
        ({"sort": "-created_at"}, ["Lamp", "Aprón", "Cup", "Bag"]),
        ({"sort": "name"}, ["Aprón", "Bag", "Cup", "Lamp"]),
        ({"sort": "-name"}, ["Lamp", "Cup", "Bag", "Aprón"]),
        ({"sort": "price"}, ["Cup", "Aprón", "Bag", "Lamp"]),
        ({"sort": "-price"}, ["Lamp", "Bag", "Aprón", "Cup"]),
    ],
)
async def test_list_when_it_is_filtered_and_sorted(
    client: AsyncClient, alice: Persona, shelf: None, params: Mapping[str, Any], expected: list[str]
) -> None:
    assert await names(client, alice, **params) == expected


@pytest.mark.parametrize(
    ("q", "is_found"),
    [
        ("ete", True),
        ("ÉTÉ", True),
        ("d'été", True),
        ("sac ete", True),
        ("robe ete", False),
        ("rete", False),
        ("it's & | ! ( ' :* \\ <->", False),
        ("'été'", True),
        ("e\u0301te\u0301", True),
        ("%", None),
        ("' OR 1=1 --", False),
        ("   ", None),
        ("🧵", None),
    ],
)
async def test_search_when_the_words_have_accents_or_quotes(
    client: AsyncClient, alice: Persona, db: SystemSession, q: str, is_found: bool | None
) -> None:
    await make_product(db, owner=alice, name="Sac d'été «Anna»")
    answer = await client.get(URL, headers=alice.headers, params={"q": q})
    if is_found is None:
        assert answer.status_code == 422
        assert answer.json()["code"] == "query_empty"
    else:
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == is_found


async def test_search_when_a_stranger_has_the_same_words(
    client: AsyncClient, alice: Persona, charlie: Persona, db: SystemSession
) -> None:
    await make_product(db, owner=charlie, name="Lantern")
    assert await names(client, alice, q="lantern") == []
    assert await names(client, charlie, q="lantern") == ["Lantern"]


async def test_cursor_when_products_are_added_meanwhile(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    for number in range(7):
        await make_product(db, owner=alice, name=f"P{number}")
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        params: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await client.get(URL, headers=alice.headers, params=params)).json()
        seen += [item["name"] for item in page["items"]]
        assert page["total"] is None
        cursor = page["next_cursor"]
        await make_product(db, owner=alice, name="New")
    assert seen == ["P6", "P5", "P4", "P3", "P2", "P1", "P0"]
    assert cursor is None


async def test_cursor_when_the_order_is_ascending(
    client: AsyncClient, alice: Persona, db: SystemSession
) -> None:
    for number in range(3):
        await make_product(db, owner=alice, name=f"P{number}")
    params: dict[str, Any] = {"limit": 2, "sort": "created_at", "count": True}
    page = (await client.get(URL, headers=alice.headers, params=params)).json()
    assert page["total"] == 3
    assert await names(client, alice, **params, cursor=page["next_cursor"]) == ["P2"]


async def test_page_when_it_is_numbered(client: AsyncClient, alice: Persona, shelf: None) -> None:
    answer = await client.get(URL, headers=alice.headers, params={"page": 2, "limit": 3, "sort": "name"})
    assert [item["name"] for item in answer.json()["items"]] == ["Lamp"]
    assert answer.json()["total"] == 4
    assert answer.json()["next_cursor"] is None


async def test_page_when_it_is_refused(client: AsyncClient, alice: Persona, shelf: None) -> None:
    first = (await client.get(URL, headers=alice.headers, params={"limit": 1})).json()
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"sort": "price", "cursor": first["next_cursor"]}, "/cursor", "sort_needs_page"),
        ({"page": 101, "limit": 100}, "/page", "page_too_deep"),
        ({"status": "draft", "cursor": first["next_cursor"]}, "/cursor", "cursor_invalid"),
        ({"cursor": "forged"}, "/cursor", "cursor_invalid"),
    ]
    for params, pointer, code in refused:
        answer = await client.get(URL, headers=alice.headers, params=params)
        assert answer.status_code == 422
        assert answer.json()["code"] == code
        assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "stock"},
        {"status": "gone"},
        {"limit": 101},
        {"limit": 0},
        {"page": 0},
        {"colour": "red"},
        {"q": "x" * 201},
        {"q": "a\x00b"},
        {"price_min": -1},
        {"price_min": 10**30},
        {"in_stock": "maybe"},
        {"sku": "no spaces"},
        {"page": 1, "cursor": "x"},
    ],
)
async def test_list_when_a_parameter_is_not_valid(
    client: AsyncClient, alice: Persona, params: dict[str, Any]
) -> None:
    answer = await client.get(URL, headers=alice.headers, params=params)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "validation_error"


async def test_total_when_there_are_more_than_it_counts(
    client: AsyncClient, alice: Persona, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "list_total_cap", 2)
    for number in range(3):
        await make_product(db, owner=alice, name=f"P{number}")
    answer = await client.get(URL, headers=alice.headers, params={"count": True})
    assert answer.json()["total"] == 2


async def test_list_when_it_grows_costs_the_same(
    client: AsyncClient, alice: Persona, db: SystemSession, statements
) -> None:
    counts = []
    for size in (2, 10):
        for number in range(size):
            await make_product(db, owner=alice, name=f"P{size}{number}")
        with statements() as seen:
            assert len(await names(client, alice, limit=100, page=1)) == (2 if size == 2 else 12)
        counts.append(len(seen))
    assert counts[0] == counts[1] == 3
