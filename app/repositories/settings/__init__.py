"""The questions to the tables of personal settings."""

from app.repositories.settings.email_changes import EmailChangeRepository
from app.repositories.settings.profiles import ProfileRepository

__all__ = ["EmailChangeRepository", "ProfileRepository"]
