"""Connections to other services: who connected what, the grants behind it, and how those are kept alive."""

from app.services.integrations.connections.leaving import mark_owner_left

__all__ = ["mark_owner_left"]
