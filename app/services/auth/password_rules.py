"""Owns which new passwords are refused, wherever one is given: at sign-up, by a reset and in the settings."""

from app.clients.breaches import is_leaked
from app.clients.outbound import get_outbound
from app.core.config import get_settings
from app.core.errors import FieldError, Invalid
from app.core.passwords import PasswordProblem, normalise, password_problems

LEAKED = PasswordProblem("breached", "This password is known from a leak; nobody should use it any more.")


async def refuse_weak_password(
    password: str, *, email: str, full_name: str | None, pointer: str = "/password"
) -> None:
    """422 `password_rejected` with every reason, before anything is hashed; `pointer` is its field.

    Never called in a transaction: with `PASSWORD_BREACH_CHECK` a password that is good otherwise is looked up
    in a public list.
    """
    settings = get_settings()
    found = password_problems(
        password, email=email, full_name=full_name, minimum=settings.password_min_length
    )
    if not found and settings.password_breach_check == "on":  # noqa: S105 - a switch
        found = [LEAKED] if await is_leaked(get_outbound(), normalise(password)) else []
    if found:
        raise Invalid(
            "password_rejected",
            "Choose another password; see `errors`.",
            errors=[FieldError(pointer, problem.code, problem.detail) for problem in found],
        )
