"""Browsers that take push messages."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])
