"""The only place that speaks SQL about people, sessions, one-time tokens and counted failures."""

from app.repositories.auth.people import Credentials, PeopleRepository
from app.repositories.auth.sessions import SessionCard, SessionRepository
from app.repositories.auth.throttles import ThrottleRepository
from app.repositories.auth.tokens import MOST_ATTEMPTS, OneTimeTokenRepository

__all__ = [
    "MOST_ATTEMPTS",
    "Credentials",
    "OneTimeTokenRepository",
    "PeopleRepository",
    "SessionCard",
    "SessionRepository",
    "ThrottleRepository",
]
