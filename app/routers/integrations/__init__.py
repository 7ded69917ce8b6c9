"""The routes under `/api/integrations`."""

from app.routers.integrations.api_keys import router as api_keys_router
from app.routers.integrations.connections import router as connections_router
from app.routers.integrations.webhooks import router as webhooks_router

__all__ = ["api_keys_router", "connections_router", "webhooks_router"]
