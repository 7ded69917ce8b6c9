"""Public product pages: open shops show their active products, and never how many pieces there are."""

import pytest
from httpx import AsyncClient
from sqlalchemy import update

from app.core.database import SystemSession
from app.models.products import Product
from app.models.team import Organization
from tests.factories.products import make_product
from tests.support.personas import Persona


async def open_shop(client: AsyncClient, db: SystemSession, owner: Persona) -> str:
    """Open the owner's storefront; answers the slug of the shop."""
    answer = await client.patch(
        "/api/orders/settings", headers=owner.headers, json={"is_storefront_public": True}
    )
    assert answer.status_code == 200, answer.text
    return (await db.get_one(Organization, owner.organization_id)).slug


async def test_product_when_the_shop_is_open(client: AsyncClient, db: SystemSession, alice: Persona):
    shop = await open_shop(client, db, alice)
    product = await make_product(db, owner=alice, name="Weekender", stock=3, lead_time_days=5)
    answer = await client.get(f"/api/public/products/{product.slug}", params={"organization": shop})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.json() == {
        "name": "Weekender",
        "slug": product.slug,
        "description": None,
        "category": None,
        "price": 12345,
        "currency": "EUR",
        "images": [],
        "options": [],
        "lead_time_days": 5,
        "availability": "in_stock",
    }


async def test_product_when_the_shop_is_closed(client: AsyncClient, db: SystemSession, alice: Persona):
    product = await make_product(db, owner=alice)
    shop = (await db.get_one(Organization, alice.organization_id)).slug
    answer = await client.get(f"/api/public/products/{product.slug}", params={"organization": shop})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("status", ["draft", "archived"])
async def test_product_when_it_is_not_for_sale(
    client: AsyncClient, db: SystemSession, alice: Persona, status: str
):
    shop = await open_shop(client, db, alice)
    product = await make_product(db, owner=alice, status=status)
    answer = await client.get(f"/api/public/products/{product.slug}", params={"organization": shop})
    assert answer.status_code == 404


async def test_product_when_another_shop_is_named(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
):
    await open_shop(client, db, alice)
    other = await open_shop(client, db, charlie)
    product = await make_product(db, owner=alice)
    answer = await client.get(f"/api/public/products/{product.slug}", params={"organization": other})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"stock": 2, "reserved": 2}, "out_of_stock"),
        ({"stock": 0, "allow_backorder": True}, "backorder"),
        ({"stock": 0, "track_inventory": False}, "in_stock"),
        ({"stock": 2, "reserved": 1}, "in_stock"),
    ],
)
async def test_availability_when_pieces_are_held(
    client: AsyncClient, db: SystemSession, alice: Persona, columns: dict[str, object], expected: str
):
    shop = await open_shop(client, db, alice)
    product = await make_product(db, owner=alice)
    await db.execute(update(Product).where(Product.id == product.id).values(**columns))
    await db.commit()
    answer = await client.get(f"/api/public/products/{product.slug}", params={"organization": shop})
    assert answer.json()["availability"] == expected


@pytest.mark.parametrize("query", [{}, {"organization": ""}, {"organization": "x", "page": "1"}])
async def test_query_when_it_is_not_valid(client: AsyncClient, query: dict[str, str]):
    assert (await client.get("/api/public/products/bag", params=query)).status_code == 422
