"""The routes of what the platform's staff does to accounts."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])
