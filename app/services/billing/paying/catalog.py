"""Owns that what is sold here is what Stripe sells: every price is compared with its own there."""

from typing import Any

import structlog

from app.clients.stripe import StripeClient, stripe_client
from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.models.billing import PlanPrice
from app.repositories.billing.plans import PriceRepository
from app.services.billing.paying.portal_settings import switching, switching_portals
from app.services.billing.subscriptions.events import StripeCatalogDrift
from app.services.stripe_webhooks.comparing import Difference
from app.services.stripe_webhooks.reconciling import moment_of, note_kind

logger = structlog.get_logger(__name__)


async def check_catalog(database: Database) -> None:
    """Find each active price by its lookup key, compare, and bind it; a difference stops its sale.

    Products and prices are made in the sandbox only. What differs, and a portal in which plans can be
    switched, stands in the list of differences until it is gone. Errors of the client.
    """
    client = stripe_client()
    began = await moment_of(database)
    async with database.system(autocommit=True) as session:
        prices = await PriceRepository(session).active()
    if not prices:
        return
    keys = [price.lookup_key for price in prices]
    # Stripe takes ten keys at once.
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), 10):
        params = {"lookup_keys": keys[start : start + 10], "limit": 100, "expand": ["data.product"]}
        async for item in client.pages("prices.list", params=params):
            found[item["lookup_key"]] = item
    wrong = [switching(identifier) for identifier in await switching_portals(client)]
    for price in prices:
        theirs = found.get(price.lookup_key)
        if client.sandbox is not None and (theirs is None or differences(price, theirs)):
            theirs = await _make(client, price)
        async with database.transaction() as session:
            drift = await note_comparison(session, price, theirs)
        if drift is not None:
            wrong.append(_difference(price, theirs, drift))
    await note_kind(database, "catalog_drift", wrong, since=began, by="check_stripe_catalog")


async def ensure_catalog(database: Database) -> None:
    """Compare now when there is a price that nobody has compared yet, as before the first hourly check."""
    async with database.system(autocommit=True) as session:
        prices = await PriceRepository(session).active()
    if any(price.checked_at is None for price in prices):
        await check_catalog(database)


def differences(price: PlanPrice, theirs: dict[str, Any]) -> str:
    """In words what is different; empty when nothing is."""
    recurring = theirs.get("recurring") or {}
    pairs = {
        "amount": (price.unit_amount, theirs.get("unit_amount")),
        "currency": (price.currency.lower(), theirs.get("currency")),
        "interval": (price.billing_interval, recurring.get("interval")),
        "interval_count": (1, recurring.get("interval_count", 1)),
        "active": (True, theirs.get("active")),
    }
    product = theirs.get("product")
    if isinstance(product, dict):
        # Stripe sells no price of a product that was archived or removed.
        pairs["product"] = ("for sale", "for sale" if product.get("active") else "not for sale")
    return "; ".join(
        f"{name}: {ours} here, {other} there" for name, (ours, other) in pairs.items() if ours != other
    )


async def _make(client: StripeClient, price: PlanPrice) -> dict[str, Any]:
    """The price in the sandbox, in place of one that is not like ours."""
    return await client.call(
        "prices.create",
        params={
            "currency": price.currency.lower(),
            "unit_amount": price.unit_amount,
            "recurring": {"interval": price.billing_interval},
            "lookup_key": price.lookup_key,
            "transfer_lookup_key": True,
            "product_data": {"name": f"Luneo {price.plan_code.title()}"},
        },
        key=f"catalog-{price.id}",
    )


def _difference(price: PlanPrice, theirs: dict[str, Any] | None, drift: str) -> Difference:
    """The difference that a person has to mend, at Stripe or in the price list."""
    return Difference(
        kind="catalog_drift",
        stripe_id=price.lookup_key if theirs is None else theirs["id"],
        organization_id=None,
        expected={} if theirs is None else {name: theirs.get(name) for name in ("unit_amount", "currency")},
        actual={"unit_amount": price.unit_amount, "currency": price.currency.lower()},
        explanation=f"The price {price.lookup_key} is not sold: {drift}.",
        repair=None,
        local_ref=str(price.id),
    )


async def note_comparison(
    session: SystemSession, price: PlanPrice, theirs: dict[str, Any] | None
) -> str | None:
    """Write down what Stripe says of a price (None: it has none), and answer what differs, if anything does.

    A new difference alerts the operators.
    """
    drift = "missing at Stripe" if theirs is None else differences(price, theirs) or None
    is_new = drift is not None and drift != price.drift
    await PriceRepository(session).note_check(
        price.id,
        drift=drift,
        stripe_price_id=theirs["id"] if theirs is not None and drift is None else None,
        now=clock.now(),
    )
    if is_new:
        logger.error("Alert: a price at Stripe is different", lookup_key=price.lookup_key, drift=drift)
        await emit(
            session,
            StripeCatalogDrift(
                id=str(price.id),
                kind="price",
                stripe_id=price.stripe_price_id,
                organization_id=None,
                error=f"{price.lookup_key}: {drift}",
            ),
        )
    return drift
