"""The routes of orders: from a basket to the buyer's door."""

from app.routers.orders.acts import router as acts_router
from app.routers.orders.orders import router

__all__ = ["acts_router", "router"]
