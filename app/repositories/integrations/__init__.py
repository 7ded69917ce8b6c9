"""The only place that speaks SQL about integrations and API keys."""

from app.repositories.integrations.api_keys import ApiKeyRepository

__all__ = ["ApiKeyRepository"]
