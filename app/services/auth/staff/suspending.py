"""Owns the suspension of accounts by the platform's staff, and its end."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.database import Unscoped
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.models.auth import User
from app.repositories.auth import PeopleRepository
from app.services.auth.accounts import end_sessions, give_up_intruders_change
from app.services.auth.staff.events import UserReinstated, UserSuspended

SUSPENDED = "suspended"


class SuspensionService:
    """Closes accounts and opens them again; whose they are does not matter, so the session sees all."""

    def __init__(self, session: Unscoped) -> None:
        self.session = session

    async def suspend(self, user_id: UUID, reason: str) -> None:
        """Close an account: nobody signs in to it, and its sessions end with the commit.

        404; 409 `user_not_active` for one that is suspended, or being erased.
        """
        user = await self._find(user_id)
        if user.status != "active":
            raise Conflict("user_not_active", "Only an active account can be suspended.")
        user.status = SUSPENDED
        await end_sessions(self.session, user_id, reason=SUSPENDED, now=clock.now())
        await give_up_intruders_change(self.session, user)
        await emit(self.session, UserSuspended(user_id=user_id, reason=reason))

    async def reinstate(self, user_id: UUID, reason: str) -> None:
        """Open a suspended account again; the person signs in anew. 404; 409 `user_not_suspended`."""
        user = await self._find(user_id)
        if user.status != SUSPENDED:
            raise Conflict("user_not_suspended", "Only a suspended account can be reinstated.")
        user.status = "active"
        await emit(self.session, UserReinstated(user_id=user_id), private={"reason": reason})

    async def _find(self, user_id: UUID) -> User:
        user = await PeopleRepository(self.session).get(user_id, lock=True)
        if user is None or user.status == "erased":
            raise NotFound()
        return user


Suspensions = Annotated[SuspensionService, Depends()]
