"""The texts of mails that an organisation writes itself."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])
