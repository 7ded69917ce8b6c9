"""Owns what is done when prices or products are changed at Stripe: what is sold here is compared at once."""

from typing import Any

from app.core.database import SystemSession
from app.repositories.billing.plans import PriceRepository
from app.services.billing.paying.catalog import note_comparison
from app.services.stripe_webhooks.asking import have_catalog_checked
from app.services.stripe_webhooks.effects import StripeEventRow, on_stripe


@on_stripe("price.created", "price.updated", "price.deleted", platform=True)
async def on_price(
    session: SystemSession,
    fetched: dict[str, Any],
    event: StripeEventRow,  # noqa: ARG001 - an effect gets it
) -> str | None:
    """A price that is sold here and is another one there is not sold; one that is the same again is.

    One that is not known yet may have got the lookup key of one of ours: all of them are compared then.
    """
    prices = PriceRepository(session)
    price = await prices.by_stripe_id(str(fetched.get("id")))
    if price is not None and price.is_active:
        await note_comparison(session, price, None if fetched.get("deleted") else fetched)
        return None
    if await prices.by_lookup_key(str(fetched.get("lookup_key"))) is None:
        return "not_sold"
    await have_catalog_checked(session)
    return None


@on_stripe("product.created", "product.updated", "product.deleted", platform=True)
async def on_product(
    session: SystemSession,
    fetched: dict[str, Any],  # noqa: ARG001 - which of our prices are its own is looked up at Stripe
    event: StripeEventRow,
) -> str | None:
    """What we sell may be one of its prices: all of them are compared. A new product has none of them."""
    if event.type == "product.created":
        return "no_price_of_ours"
    await have_catalog_checked(session)
    return None
