"""The tables: one file per area. Importing this package registers all of them."""

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
