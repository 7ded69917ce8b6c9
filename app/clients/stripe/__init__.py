"""The client of Stripe: the only package that knows the library."""

from app.clients.stripe.errors import (
    StripeDeclined,
    StripeError,
    StripeMisconfigured,
    StripeMissing,
    StripeNotConfigured,
    StripeRefused,
    StripeUnavailable,
)
from app.clients.stripe.port import (
    API_VERSION,
    SANDBOX_MARK,
    StripeClient,
    close_client,
    sandbox_client,
    stripe_client,
    use_client,
    webhook_secrets,
)

__all__ = [
    "API_VERSION",
    "SANDBOX_MARK",
    "StripeClient",
    "StripeDeclined",
    "StripeError",
    "StripeMisconfigured",
    "StripeMissing",
    "StripeNotConfigured",
    "StripeRefused",
    "StripeUnavailable",
    "close_client",
    "sandbox_client",
    "stripe_client",
    "use_client",
    "webhook_secrets",
]
