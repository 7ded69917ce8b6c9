"""What errors of the database mean to callers: constraints by their name, everything else by its SQLSTATE."""

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors.family import AppError, Invalid, Unavailable

CONSTRAINTS: dict[str, AppError] = {}
"""What a broken constraint means, by its name; areas register theirs with `translate_constraint`."""

BUSY_STATES = {"55P03", "40P01", "40001", "57014"}
"""Lock wait over, deadlock, serialisation failure, statement cancelled: try again in a moment."""

DOWN_CLASSES = ("08", "57P", "53")
"""Connection lost, server shutting down, no room left: the database is not there at the moment."""

BAD_VALUE_CLASSES = ("22",)
"""Data exceptions: a value that passed our checks and that PostgreSQL refuses all the same."""

SOON = {"Retry-After": "1"}

UNREACHABLE = (PoolTimeout, ConnectionError, FileNotFoundError, TimeoutError)
"""What connecting raises while PostgreSQL is away: refused, no socket, no answer, no free connection."""


def translate_constraint(name: str, error: AppError) -> None:
    """Say once which answer a broken constraint gives, whoever breaks it."""
    CONSTRAINTS[name] = error


def constraint_name(error: DBAPIError) -> str | None:
    """The name of the constraint that PostgreSQL reported, through asyncpg's wrapping."""
    cause = getattr(error.orig, "__cause__", None) or error.orig
    name = getattr(cause, "constraint_name", None)
    return str(name) if name else None


def sqlstate(error: DBAPIError) -> str | None:
    """The SQLSTATE that PostgreSQL reported."""
    cause = getattr(error.orig, "__cause__", None) or error.orig
    state = getattr(cause, "sqlstate", None) or getattr(error.orig, "sqlstate", None)
    return str(state) if state else None


def from_database(error: DBAPIError) -> AppError | None:
    """The refusal that a database error stands for, or None when it is a defect of ours."""
    state = sqlstate(error) or ""
    if isinstance(error, IntegrityError) and (known := CONSTRAINTS.get(constraint_name(error) or "")):
        return known
    if state in BUSY_STATES:
        return Unavailable("busy", "Too many changes of the same data at once; repeat.", headers=SOON)
    if error.connection_invalidated or state.startswith(DOWN_CLASSES) or _is_disorder(error):
        return database_unavailable()
    if state.startswith(BAD_VALUE_CLASSES):
        return Invalid("validation_error", "A value is out of range.")
    return None


def database_unavailable() -> Unavailable:
    """The answer while PostgreSQL cannot be reached."""
    return Unavailable("database_unavailable", "The database is not reachable; try again.", headers=SOON)


def _is_disorder(error: DBAPIError) -> bool:
    """Whether the driver has lost track, as it may when the farewell of a dying server comes unasked."""
    return isinstance(getattr(error.orig, "__cause__", None) or error.orig, asyncpg.InternalClientError)
