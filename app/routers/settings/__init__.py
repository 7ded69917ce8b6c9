"""The routes under `/api/settings`: what people keep about themselves."""

from app.routers.settings.avatar import router as avatar_router
from app.routers.settings.email import router as email_router
from app.routers.settings.identities import router as identities_router
from app.routers.settings.password import router as password_router
from app.routers.settings.profile import router as profile_router
from app.routers.settings.second_factor import router as second_factor_router
from app.routers.settings.security_log import router as security_log_router
from app.routers.settings.sessions import router as sessions_router

__all__ = [
    "avatar_router",
    "email_router",
    "identities_router",
    "password_router",
    "profile_router",
    "second_factor_router",
    "security_log_router",
    "sessions_router",
]
