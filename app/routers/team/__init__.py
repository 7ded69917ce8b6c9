"""The routes of organisations and of teams: who works in one, and as what."""

from app.routers.team.activity import router as activity_router
from app.routers.team.invitations import router as invitations_router
from app.routers.team.members import router as members_router
from app.routers.team.organizations import router as organizations_router
from app.routers.team.permissions import router as permissions_router
from app.routers.team.roles import router as roles_router
from app.routers.team.transfers import router as transfers_router

__all__ = [
    "activity_router",
    "invitations_router",
    "members_router",
    "organizations_router",
    "permissions_router",
    "roles_router",
    "transfers_router",
]
