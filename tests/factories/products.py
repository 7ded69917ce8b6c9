"""Products for tests; each function commits what it made."""

import secrets
from typing import Any, Protocol
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.search_terms import search_terms
from app.models.products import Product
from app.repositories.products.catalogue import terms_vector


class Owner(Protocol):
    """Whoever works in an organisation: a persona, or anything else that names both."""

    @property
    def organization_id(self) -> UUID: ...
    @property
    def user_id(self) -> UUID: ...


async def make_product(
    db: SystemSession,
    *,
    owner: Owner,
    name: str = "Bag",
    price: int = 12345,
    stock: int = 10,
    status: str = "active",
    **columns: Any,
) -> Product:
    """A product of the owner's organisation in euros, found by search as a product made over HTTP is."""
    # All rows of one transaction share the database's time; products have one after the other.
    defaults = {"currency": "EUR", "slug": f"product-{secrets.token_hex(6)}", "created_at": clock.now()}
    values = {**defaults, **columns}
    terms = search_terms(owner.organization_id, name, values.get("sku"), values.get("category"))
    product = Product(
        organization_id=owner.organization_id,
        id=uuid7(),
        user_id=owner.user_id,
        name=name,
        price=price,
        stock=stock,
        status=status,
        search=terms_vector(terms),
        **values,
    )
    db.add(product)
    await db.commit()
    return product
