"""The routes of orders: from a basket to the buyer's door."""

from app.routers.orders.acts import router as acts_router
from app.routers.orders.data import router as data_router
from app.routers.orders.discounts import router as discounts_router
from app.routers.orders.documents import router as documents_router
from app.routers.orders.money import router as money_router
from app.routers.orders.orders import router
from app.routers.orders.payments import router as payments_router
from app.routers.orders.settings import router as settings_router

__all__ = [
    "acts_router",
    "data_router",
    "discounts_router",
    "documents_router",
    "money_router",
    "payments_router",
    "router",
    "settings_router",
]
