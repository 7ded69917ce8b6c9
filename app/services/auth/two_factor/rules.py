"""Owns what the acts on a person's own second factor share: their times, limits and refusals."""

from datetime import timedelta

from app.core.config import get_settings
from app.core.errors import Conflict

PENDING_FOR = timedelta(minutes=10)
"""How long an authenticator may wait for its first code."""


def tries_limit() -> str:
    """How many wrong codes these pages take; they are counted together with those of sign-in."""
    return get_settings().limit_two_factor


def not_enabled() -> Conflict:
    """409 for a person without a second factor."""
    return Conflict("two_factor_not_enabled", "There is no second factor; turn one on first.")
