"""Owns what is done when a price is changed at Stripe: it is compared at once."""

from typing import Any

from app.core import clock
from app.core.database import SystemSession
from app.repositories.billing.plans import PriceRepository
from app.services.billing.paying.catalog import differences
from app.services.stripe_webhooks.effects import StripeEventRow, on_stripe


@on_stripe("price.updated", "price.deleted", platform=True)
async def on_price(
    session: SystemSession,
    fetched: dict[str, Any],
    event: StripeEventRow,  # noqa: ARG001 - an effect gets it
) -> str | None:
    """A price that is sold here and is another one there is not sold; one that is the same again is."""
    prices = PriceRepository(session)
    price = await prices.by_stripe_id(str(fetched.get("id")))
    if price is None or not price.is_active:
        return "not_sold"
    drift = "missing at Stripe" if fetched.get("deleted") else differences(price, fetched) or None
    await prices.note_check(price.id, drift=drift, stripe_price_id=None, now=clock.now())
    return None
