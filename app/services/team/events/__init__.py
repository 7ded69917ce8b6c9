"""The events of organisations and teams; every module of them is imported here, so that all are known."""

from app.services.team.events import invitations, members, organizations, roles, transfers

__all__ = ["invitations", "members", "organizations", "roles", "transfers"]
