"""The texts, the mails and the dead addresses of the whole platform."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])
