"""The routes under `/api/notifications`."""

from app.routers.notifications.inbox import router as inbox_router
from app.routers.notifications.operator import router as operator_router
from app.routers.notifications.preferences import router as preferences_router
from app.routers.notifications.push import router as push_router
from app.routers.notifications.templates import router as templates_router
from app.routers.notifications.unsubscribe import router as unsubscribe_router

__all__ = [
    "inbox_router",
    "operator_router",
    "preferences_router",
    "push_router",
    "templates_router",
    "unsubscribe_router",
]
