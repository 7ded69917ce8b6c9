"""Imports every table, so that `Base.metadata` is whole; core modules with tables of their own come first."""

from app.core import events, idempotency
from app.models import (
    audit,
    auth,
    billing,
    files,
    integrations,
    notifications,
    orders,
    privacy,
    products,
    realtime,
    settings,
    stripe_webhooks,
    team,
)

__all__ = [
    "audit",
    "auth",
    "billing",
    "events",
    "files",
    "idempotency",
    "integrations",
    "notifications",
    "orders",
    "privacy",
    "products",
    "realtime",
    "settings",
    "stripe_webhooks",
    "team",
]
