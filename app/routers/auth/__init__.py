"""The routes under `/api/auth`: every way in, sessions' tokens, the caller."""

from app.routers.auth.links import router as links_router
from app.routers.auth.oauth import router as oauth_router
from app.routers.auth.second_factor import router as second_factor_router
from app.routers.auth.signing import alias_router, router
from app.routers.auth.staff import router as staff_router

__all__ = ["alias_router", "links_router", "oauth_router", "router", "second_factor_router", "staff_router"]
