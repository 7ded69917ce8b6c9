"""Discount codes and rates for tests; each function commits what it made."""

import secrets
from typing import Any

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.orders import DiscountCode, ShippingRate, TaxRate
from tests.factories.products import Owner


async def make_discount(db: SystemSession, *, owner: Owner, **columns: Any) -> DiscountCode:
    """A code of 10 % without conditions, unless `columns` say otherwise."""
    # All rows of one transaction share the database's time; codes have one after the other.
    defaults = {"code": f"CODE-{secrets.token_hex(6)}".upper(), "kind": "percent", "value": 1000}
    values = {**defaults, "created_at": clock.now(), **columns}
    code = DiscountCode(organization_id=owner.organization_id, id=uuid7(), **values)
    db.add(code)
    await db.commit()
    return code


async def make_tax_rate(db: SystemSession, *, owner: Owner, **columns: Any) -> TaxRate:
    """A tax rate of 20 % in some region of France, unless `columns` say otherwise."""
    values = {"country": "FR", "region": secrets.token_hex(6), "tax_category": "standard", "rate_bps": 2000}
    rate = TaxRate(organization_id=owner.organization_id, **{**values, **columns})
    db.add(rate)
    await db.commit()
    return rate


async def make_shipping_rate(db: SystemSession, *, owner: Owner, **columns: Any) -> ShippingRate:
    """A way of shipping to France, unless `columns` say otherwise."""
    values = {"code": secrets.token_hex(6), "name": "Home", "countries": ["FR"], "amount": 590}
    rate = ShippingRate(organization_id=owner.organization_id, **{**values, "currency": "EUR", **columns})
    db.add(rate)
    await db.commit()
    return rate
