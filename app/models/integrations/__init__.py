"""Tables of integrations: API keys, outgoing webhooks, connections to other services."""

from app.models.integrations.api_keys import ApiKey
from app.models.integrations.connections import (
    Integration,
    IntegrationLog,
    IntegrationRevocation,
    OAuthState,
)
from app.models.integrations.webhooks import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)

__all__ = [
    "ApiKey",
    "Integration",
    "IntegrationLog",
    "IntegrationRevocation",
    "OAuthState",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookSecret",
]
