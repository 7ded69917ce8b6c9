"""The routes of magic links, mailed codes and the reset of passwords."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])
