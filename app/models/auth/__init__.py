"""The tables of authentication."""

from app.models.auth.people import (
    OneTimeToken,
    Password,
    SignInThrottle,
    User,
    UserSession,
)

__all__ = [
    "OneTimeToken",
    "Password",
    "SignInThrottle",
    "User",
    "UserSession",
]
