"""Owns what the acts on a person's own sign-in share: who acts, and what their request brings."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice


class Caller:
    """The signed-in person who acts on their own account."""

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
