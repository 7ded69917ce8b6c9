"""The rows of what is heard from Stripe and said to it."""

from app.repositories.stripe_webhooks.commands import CommandRepository
from app.repositories.stripe_webhooks.objects import ObjectRepository

__all__ = ["CommandRepository", "ObjectRepository"]
