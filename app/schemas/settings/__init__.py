"""Bodies, queries and answers of personal settings."""

from app.schemas.settings.sessions import SessionsToEnd

__all__ = ["SessionsToEnd"]
