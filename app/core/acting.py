"""Who changes rows and why, as the triggers of a transaction are told."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.database import ScopedSession

ACTOR_SETTINGS = ("actor_type", "actor_id", "reason", "stripe_event_id", "request_id")
"""What triggers are told about a transaction; see `act_as`."""


def acting(first: int) -> str:
    """The columns of a SELECT that tell the triggers what `acting_values` says, as parameters from `$first`.

    For a statement that changes rows itself: its triggers run when its columns have been worked out.
    """
    return ", ".join(
        f"set_config('luneo.{name}', ${number}, true)" for number, name in enumerate(ACTOR_SETTINGS, first)
    )


ACT_AS_SQL = f"SELECT now(), {acting(1)}"


def acting_values(
    session: "ScopedSession",
    *,
    reason: str | None = None,
    actor_type: str | None = None,
    actor_id: str | None = None,
    stripe_event_id: str | None = None,
) -> tuple[str, ...]:
    """The values of `ACTOR_SETTINGS` for a transaction, as `act_as` sets them."""
    principal = session.principal
    if actor_type is None and principal is not None:
        actor_type, actor_id = principal.actor_type, str(principal.actor_id)
    request_id = session.info.get("request_id")
    return tuple(
        value or "" for value in (actor_type or "system", actor_id, reason, stripe_event_id, request_id)
    )
