"""The second factor: what it is, how it is checked, and the challenge of a sign-in."""

from app.services.auth.second_factor.checking import (
    FactorChecked,
    Proof,
    accept_factor,
    check_factor,
    has_active_factor,
    judge_factor,
    with_second_factor,
)

__all__ = [
    "FactorChecked",
    "Proof",
    "accept_factor",
    "check_factor",
    "has_active_factor",
    "judge_factor",
    "with_second_factor",
]
