"""The routes of sign-in with Google and GitHub."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])
