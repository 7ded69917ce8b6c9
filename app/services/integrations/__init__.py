"""API keys: what programs of a customer sign in with."""

from app.services.integrations.gauge import count_live_keys
from app.services.integrations.revoking import revoke_keys_of

__all__ = ["count_live_keys", "revoke_keys_of"]
