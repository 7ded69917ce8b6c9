"""The ordered list of routers: one per dashboard area."""

from fastapi import APIRouter

from app.routers import products

ROUTERS: list[APIRouter] = [products.router]
