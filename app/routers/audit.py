"""The routes of the audit log."""

from fastapi import APIRouter

from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, prefix="/api/audit-logs", tags=["audit"])
