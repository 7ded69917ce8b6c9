"""The routes of API keys."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations/api-keys", tags=["integrations"])
