"""Owns the limits of invitations in time, and telling the owner that the plan has no seat left."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.core.database import Database, SystemSession
from app.core.errors import PaymentRequired, TooManyRequests
from app.core.events import emit
from app.core.limits import enforce
from app.core.limits.routes import STATES
from app.services.auth.refusals import remembered
from app.services.team.events.organizations import LimitReached

COUNTED = ("invite", "invite_daily")


class InvitationLimit:
    """Counts the invitations of an organisation; always before a transaction, since the store may be far."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def count(self, organization_id: UUID) -> None:
        """Count one invitation; TooManyRequests (429) when there were too many in an hour or a day."""
        # Of several invitations in one request only the last standing is told.
        states = self._request.scope.setdefault(STATES, [])
        states[:] = [state for state in states if state.name not in COUNTED]
        for name in COUNTED:
            await enforce(self._request, name, key=str(organization_id))

    async def count_several(self, organization_id: UUID, wanted: int) -> int:
        """Count several invitations, and answer how many may be sent; 429 when not even one may."""
        await self.count(organization_id)
        for counted in range(1, wanted):
            try:
                await self.count(organization_id)
            except TooManyRequests:
                return counted
        return wanted


InvitationLimits = Annotated[InvitationLimit, Depends()]


async def tell_limit(session: SystemSession, organization_id: UUID, refusal: PaymentRequired) -> None:
    """Emit that a limit of the plan stopped something, in the caller's transaction."""
    facts = refusal.extensions
    await emit(
        session,
        LimitReached(name=facts["metric"], limit=facts["limit"], used=facts["used"] + facts["pending"]),
        organization_id=organization_id,
        private={"organization_id": organization_id},
    )


async def remember_limit(
    session: SystemSession, database: Database, organization_id: UUID, refusal: PaymentRequired
) -> None:
    """The same in a transaction of its own, because the request's is given up."""
    async with remembered(session, database) as own:
        await tell_limit(own, organization_id, refusal)
