"""Owns what Stripe's portal must not allow: plans are changed here, where a preview says what it costs."""

from collections.abc import Sequence

from app.clients.stripe import StripeClient
from app.services.stripe_webhooks.comparing import Difference


async def switching_portals(client: StripeClient) -> Sequence[str]:
    """The default configurations, by their ids, in which payers can switch plans. Errors of the client."""
    params = {"is_default": True, "active": True}
    return [
        found["id"]
        async for found in client.pages("billing_portal.configurations.list", params=params)
        if ((found.get("features") or {}).get("subscription_update") or {}).get("enabled")
    ]


def switching(configuration_id: str) -> Difference:
    """The difference that a person has to mend at Stripe."""
    return Difference(
        kind="catalog_drift",
        stripe_id=configuration_id,
        organization_id=None,
        expected={"subscription_update": False},
        actual={"subscription_update": True},
        explanation=(
            "The customer portal lets payers switch plans, past the price list and its previews."
            " Switch that off in the portal's settings at Stripe; until then nobody is led there."
        ),
        repair=None,
    )
