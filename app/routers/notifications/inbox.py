"""What a person has been told, and what was read."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])
