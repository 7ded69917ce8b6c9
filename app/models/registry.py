"""Imports every table, so that `Base.metadata` is whole; core modules with tables of their own come first."""

from app.core import events, idempotency
from app.models import auth, billing, notifications, orders, products, realtime, settings, team

__all__ = [
    "auth",
    "billing",
    "events",
    "idempotency",
    "notifications",
    "orders",
    "products",
    "realtime",
    "settings",
    "team",
]
