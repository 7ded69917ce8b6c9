"""Owns the questions to organisations, their members, their roles, and the sessions that work in them."""

from app.repositories.team.members import Sought, Standing, TeamListing, TeamRepository
from app.repositories.team.organizations import OrganizationRepository
from app.repositories.team.roles import RoleRepository
from app.repositories.team.sessions import TeamSessionRepository

__all__ = [
    "OrganizationRepository",
    "RoleRepository",
    "Sought",
    "Standing",
    "TeamListing",
    "TeamRepository",
    "TeamSessionRepository",
]
