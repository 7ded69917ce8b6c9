"""Owns the end of sessions by their own person: sign-out, and ending devices from the settings."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Invalid, NotFound
from app.core.events import emit
from app.repositories.auth import SessionRepository
from app.schemas.auth import SessionReference
from app.schemas.settings import SessionsToEnd
from app.services.auth.events import SessionRevoked, SignedOut

SignOutScope = Literal["local", "others", "global"]


class SignOutService:
    """Ends the caller's sessions; access and refresh tokens die with the commit."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def sign_out(self, scope: SignOutScope) -> None:
        """End this session, all others, or all."""
        await self._end(scope, reason="signed_out")
        await emit(self.session, SignedOut(user_id=self._user_id, scope=scope))

    async def end_one(self, session_id: UUID) -> None:
        """End one of the caller's live sessions; 404 for any other id."""
        ended = await SessionRepository(self.session).end_of_person(
            self._user_id, only=session_id, reason="user", now=clock.now()
        )
        if not ended:
            raise NotFound()
        await self._tell(ended, "user")

    async def end_chosen(self, query: SessionsToEnd, body: SessionReference | None) -> None:
        """End the other sessions, all, or the named one; 422 unless exactly one way is chosen."""
        identifier = query.id or (body.session_id if body else None)
        if sum(chosen is not None for chosen in (query.scope, query.id, body)) != 1:
            raise Invalid("session_id_missing", "Send one of `scope`, `id` and a body with `session_id`.")
        if identifier is not None:
            await self.end_one(identifier)
        else:
            await self._end("global" if query.scope == "all" else "others", reason="user")

    async def _end(self, scope: SignOutScope, *, reason: str) -> None:
        current = self.principal.session_id
        ended = await SessionRepository(self.session).end_of_person(
            self._user_id,
            only=current if scope == "local" else None,
            all_but=current if scope == "others" else None,
            reason=reason,
            now=clock.now(),
        )
        await self._tell(ended, reason)

    async def _tell(self, ended: Sequence[UUID], reason: str) -> None:
        for session_id in ended:
            await emit(
                self.session, SessionRevoked(user_id=self._user_id, session_id=session_id, reason=reason)
            )

    @property
    def _user_id(self) -> UUID:
        assert self.principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        return self.principal.user_id


SignOuts = Annotated[SignOutService, Depends()]
