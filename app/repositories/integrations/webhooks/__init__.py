"""The only place that speaks SQL about outgoing webhooks."""

from app.repositories.integrations.webhooks.attempts import AttemptRepository
from app.repositories.integrations.webhooks.deliveries import DeliveryRepository
from app.repositories.integrations.webhooks.endpoints import EndpointRepository, SecretRepository

__all__ = ["AttemptRepository", "DeliveryRepository", "EndpointRepository", "SecretRepository"]
