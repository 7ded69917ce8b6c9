"""API keys: what programs of a customer sign in with."""

from app.services.integrations.revoking import revoke_keys_of

__all__ = ["revoke_keys_of"]
