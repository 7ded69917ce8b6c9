"""Owns the end of sessions by their own person: sign-out, and ending devices from the settings."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Unscoped
from app.core.errors import Invalid, NotFound
from app.core.events import emit
from app.schemas.auth import SessionReference
from app.schemas.settings import SessionsToEnd
from app.services.auth.accounts import SIGNED_OUT, end_sessions, give_up_intruders_change, locked_person
from app.services.auth.events import SignedOut

SignOutScope = Literal["local", "others", "global"]

THROWN_OUT = "user"
"""Why a session ended that its person has ended from another one, or from the list."""


class SignOutService:
    """Ends the caller's sessions, whom every question names; their tokens die with the commit."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def sign_out(self, scope: SignOutScope) -> None:
        """End this session, all others, or all."""
        current = self.principal.session_id
        if scope != "local":
            # They may be an intruder's, so that nothing which they have asked for lives on.
            await self._end(all_but=current, reason=THROWN_OUT)
        if scope != "others":
            await self._end(only=current, reason=SIGNED_OUT)
        await emit(self.session, SignedOut(user_id=self._user_id, scope=scope))

    async def end_one(self, session_id: UUID) -> None:
        """End one of the caller's live sessions; 404 for any other id."""
        if not await self._end(only=session_id, reason=THROWN_OUT):
            raise NotFound()

    async def end_chosen(self, query: SessionsToEnd, body: SessionReference | None) -> None:
        """End the other sessions, all, or the named one; 422 unless exactly one way is chosen."""
        identifier = query.id or (body.session_id if body else None)
        if sum(chosen is not None for chosen in (query.scope, query.id, body)) != 1:
            raise Invalid("session_id_missing", "Send one of `scope`, `id` and a body with `session_id`.")
        if identifier is not None:
            await self.end_one(identifier)
        else:
            await self._end(
                all_but=self.principal.session_id if query.scope == "others" else None, reason=THROWN_OUT
            )

    async def _end(self, *, reason: str, only: UUID | None = None, all_but: UUID | None = None) -> int:
        """End the caller's live sessions, or one, or all but one; how many they were."""
        user = await locked_person(self.session, self._user_id)
        assert user is not None  # noqa: S101 - a session cannot outlive its person
        ended = await end_sessions(
            self.session, user.id, only=only, all_but=all_but, reason=reason, now=clock.now()
        )
        await give_up_intruders_change(self.session, user)
        return ended

    @property
    def _user_id(self) -> UUID:
        assert self.principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        return self.principal.user_id


SignOuts = Annotated[SignOutService, Depends()]
