"""Owns the questions to organisations, their members and their roles."""

from app.repositories.team.members import TeamRepository

__all__ = ["TeamRepository"]
