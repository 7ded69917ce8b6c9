"""Connections to other services."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations", tags=["integrations"])
