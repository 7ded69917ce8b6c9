"""The routes of the second factor of a sign-in, and step-up by mail."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])
