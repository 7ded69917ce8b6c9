"""The ordered list of routers: one per dashboard area."""

from fastapi import APIRouter

from app.routers import auth, products, settings

ROUTERS: list[APIRouter] = [auth.router, auth.alias_router, settings.router, products.router]
