"""The tables of authentication."""

from app.models.auth.external import ExternalSignIn, Identity
from app.models.auth.people import (
    OneTimeToken,
    Password,
    SignInThrottle,
    User,
    UserSession,
)
from app.models.auth.second_factor import MfaBackupCode, MfaChallenge, MfaFactor

__all__ = [
    "ExternalSignIn",
    "Identity",
    "MfaBackupCode",
    "MfaChallenge",
    "MfaFactor",
    "OneTimeToken",
    "Password",
    "SignInThrottle",
    "User",
    "UserSession",
]
