"""Owns what the acts on a person's own second factor share: who acts, and the refusals."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Conflict

PENDING_FOR = timedelta(minutes=10)
"""How long an authenticator may wait for its first code."""


class Caller:
    """The person whose second factor it is, and what their request brings."""

    def __init__(
        self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal, device: CallingDevice
    ) -> None:
        self.session = session
        self.database = database
        self.principal = principal
        self.device = device
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id


OwnCaller = Annotated[Caller, Depends()]


def tries_limit() -> str:
    """How many wrong codes these pages take; they are counted together with those of sign-in."""
    return get_settings().limit_two_factor


def not_enabled() -> Conflict:
    """409 for a person without a second factor."""
    return Conflict("two_factor_not_enabled", "There is no second factor; turn one on first.")
