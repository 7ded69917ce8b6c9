"""The routes under `/api/billing`: plans, the subscription, ways to pay, and who pays."""

from app.routers.billing.details import router as details_router
from app.routers.billing.grants import router as grants_router
from app.routers.billing.payment_methods import router as payment_methods_router
from app.routers.billing.plans import router as plans_router
from app.routers.billing.subscription import router as subscription_router

__all__ = [
    "details_router",
    "grants_router",
    "payment_methods_router",
    "plans_router",
    "subscription_router",
]
