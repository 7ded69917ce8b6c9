"""The events of organisations and teams; every module of them is imported here, so that all are known."""

from app.services.team.events import members, organizations, roles

__all__ = ["members", "organizations", "roles"]
