"""The only place that speaks SQL about people, sessions, one-time tokens and counted failures."""

from app.repositories.auth.accounts import AccountRepository
from app.repositories.auth.external import ExternalSignInRepository, IdentityRepository
from app.repositories.auth.people import Credentials, PeopleRepository
from app.repositories.auth.sealed import SealedColumn
from app.repositories.auth.second_factor import (
    MOST_TRIES,
    BackupCodeRepository,
    ChallengeRepository,
    DemandRepository,
    FactorRepository,
    TryRepository,
)
from app.repositories.auth.sessions import SessionCard, SessionRepository
from app.repositories.auth.throttles import ThrottleRepository
from app.repositories.auth.tokens import MOST_ATTEMPTS, OneTimeTokenRepository

__all__ = [
    "MOST_ATTEMPTS",
    "MOST_TRIES",
    "AccountRepository",
    "BackupCodeRepository",
    "ChallengeRepository",
    "Credentials",
    "DemandRepository",
    "ExternalSignInRepository",
    "FactorRepository",
    "IdentityRepository",
    "OneTimeTokenRepository",
    "PeopleRepository",
    "SealedColumn",
    "SessionCard",
    "SessionRepository",
    "ThrottleRepository",
    "TryRepository",
]
