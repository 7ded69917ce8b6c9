"""Owns what a team sees of its invitations."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.team import Invitation
from app.repositories.team.invitations import InvitationRepository
from app.schemas.team.invitations import InvitationQuery, InvitationRead
from app.services.team.invitations.views import read

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "invitations",
    Keyset(Invitation.created_at, Invitation.id),
    {NEWEST_FIRST: Sort(Invitation.created_at, is_descending=True, has_cursor=True)},
)


class InvitationService:
    """Shows the invitations of the caller's organisation."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.invitations = InvitationRepository(session)
        assert principal.organization_id is not None  # noqa: S101 - the routes ask for a permission there
        self.organization_id: UUID = principal.organization_id

    async def list(self, query: InvitationQuery) -> Rows[InvitationRead]:
        """A page of invitations, newest first."""
        now = clock.now()
        statement = self.invitations.matching(self.organization_id, status=query.status, q=query.q, now=now)
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        return rows.map(lambda row: read(row[0], row.role_name, now))

    async def get(self, invitation_id: UUID) -> InvitationRead:
        """One invitation. 404."""
        found = await self.invitations.with_role(self.organization_id, invitation_id)
        if found is None:
            raise NotFound()
        return read(found[0], found[1], clock.now())


Invitations = Annotated[InvitationService, Depends()]
