"""The ordered list of routers: one per dashboard area."""

from fastapi import APIRouter

from app.routers import (
    auth,
    docs,
    events,
    health,
    orders,
    products,
    public,
    realtime,
    sandbox,
    settings,
    storefront,
)

ROUTERS: list[APIRouter] = [
    health.router,
    docs.router,
    auth.router,
    auth.alias_router,
    settings.router,
    realtime.router,
    realtime.events_alias_router,
    realtime.notifications_alias_router,
    events.router,
    products.router,
    orders.discounts_router,
    orders.settings_router,
    orders.data_router,
    orders.router,
    orders.acts_router,
    orders.money_router,
    public.router,
    storefront.router,
]

SANDBOX_ROUTERS: list[APIRouter] = [sandbox.router]
"""Pages of development and test."""
