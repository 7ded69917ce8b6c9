"""The catalogue of notices: one module per category, which registers who makes those of each event."""

from app.services.notifications.inbox.texts import (
    analytics,
    billing,
    integrations,
    orders,
    products,
    security,
    team,
)

__all__ = ["analytics", "billing", "integrations", "orders", "products", "security", "team"]
