"""The routes under `/api/integrations`."""

from app.routers.integrations.api_keys import router as api_keys_router

__all__ = ["api_keys_router"]
