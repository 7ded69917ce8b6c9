"""The routes under `/api/billing`: plans, the subscription, ways to pay, and who pays."""

from app.routers.billing.details import router as details_router
from app.routers.billing.grants import router as grants_router
from app.routers.billing.invoices import router as invoices_router
from app.routers.billing.payment_methods import router as payment_methods_router
from app.routers.billing.plans import router as plans_router
from app.routers.billing.revenue import router as revenue_router
from app.routers.billing.subscription import router as subscription_router
from app.routers.billing.usage import router as usage_router

__all__ = [
    "details_router",
    "grants_router",
    "invoices_router",
    "payment_methods_router",
    "plans_router",
    "revenue_router",
    "subscription_router",
    "usage_router",
]
