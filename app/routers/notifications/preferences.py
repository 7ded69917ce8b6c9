"""What a person wants to be told, and by which channel."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])
