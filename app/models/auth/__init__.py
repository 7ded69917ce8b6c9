"""The tables of authentication."""

from app.models.auth.external import ExternalSignIn, Identity
from app.models.auth.people import (
    OneTimeToken,
    Password,
    SignInThrottle,
    User,
    UserSession,
)

__all__ = [
    "ExternalSignIn",
    "Identity",
    "OneTimeToken",
    "Password",
    "SignInThrottle",
    "User",
    "UserSession",
]
