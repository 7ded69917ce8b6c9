"""Tables of integrations: API keys, outgoing webhooks, connections to other services."""

from app.models.integrations import connections, webhooks
from app.models.integrations.api_keys import ApiKey

__all__ = ["ApiKey", "connections", "webhooks"]
