"""The ordered list of routers: one per dashboard area."""

from fastapi import APIRouter

from app.routers import (
    audit,
    auth,
    docs,
    events,
    files,
    health,
    integrations,
    orders,
    organizations,
    products,
    public,
    realtime,
    sandbox,
    sandbox_idp,
    sandbox_stripe,
    settings,
    storefront,
    stripe_webhooks,
    team,
)

ROUTERS: list[APIRouter] = [
    health.router,
    docs.router,
    auth.router,
    auth.alias_router,
    auth.second_factor_router,
    auth.links_router,
    auth.oauth_router,
    auth.staff_router,
    settings.profile_router,
    settings.avatar_router,
    settings.email_router,
    settings.password_router,
    settings.second_factor_router,
    settings.sessions_router,
    settings.identities_router,
    settings.security_log_router,
    organizations.router,
    team.members_router,
    team.invitations_router,
    team.roles_router,
    team.permissions_router,
    team.transfers_router,
    team.activity_router,
    audit.router,
    integrations.api_keys_router,
    files.router,
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
    stripe_webhooks.router,
    public.router,
    storefront.router,
]

SANDBOX_ROUTERS: list[APIRouter] = [sandbox.router, sandbox_idp.router]
"""Pages of development and test."""

STRIPE_SANDBOX_ROUTERS: list[APIRouter] = [sandbox_stripe.router]
"""Stripe, where this machine plays it."""
