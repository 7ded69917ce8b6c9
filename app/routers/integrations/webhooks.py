"""Outgoing webhooks: endpoints, secrets, deliveries, tests."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations/webhooks", tags=["integrations"])
