"""Owns what invited people do: look, accept, decline, by the token of the mail or by their own address."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal, refusal_for
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.errors import Conflict, Forbidden, NotFound, PaymentRequired, Unauthenticated
from app.core.paging import Keyset, PageQuery, Pager, Rows, Sort
from app.models.auth import User
from app.models.team import Invitation
from app.repositories.team import TeamRepository, TeamSessionRepository
from app.repositories.team.invitations import InvitationRepository, as_card
from app.schemas.team.invitations import InvitationPreview, Joined, MyInvitation
from app.services.auth.one_time_tokens import TEAM_INVITATION, token_id
from app.services.auth.refusals import remembered, session_revoked
from app.services.auth.sessions import SessionService
from app.services.team.invitations.closing import close
from app.services.team.invitations.granting import is_granted, role_offered
from app.services.team.invitations.joining import (
    ALREADY_MEMBER,
    Reference,
    granted,
    hold,
    join,
    locate,
    refuse_other_address,
    revoked,
)
from app.services.team.invitations.limits import remember_limit
from app.services.team.invitations.views import joined, mine, preview

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "my_invitations",
    Keyset(Invitation.created_at, Invitation.id),
    {NEWEST_FIRST: Sort(Invitation.created_at, is_descending=True, has_cursor=True)},
)


class HolderService:
    """Serves whoever holds the token of an invitation, signed in or not."""

    def __init__(self, session: Unscoped) -> None:
        self.session = session
        self.invitations = InvitationRepository(session)

    async def preview(self, token: str) -> InvitationPreview:
        """What the invitation is about. 400 `token_invalid`; 410, also when nobody stands behind it."""
        now = clock.now()
        reference = await locate(self.session, token, now)
        card = await self.invitations.card(reference.organization_id, reference.invitation_id)
        if card is None or card.organization.deleted_at is not None:
            raise revoked()
        choice = await role_offered(self.session, card.invitation)
        if choice is None or not await is_granted(self.session, card.invitation, choice):
            raise revoked()
        account = await self.invitations.account(card.invitation.email_canonical)
        return preview(card, has_account=account is not None)

    async def decline(self, token: str) -> None:
        """Refuse the invitation; refusing again changes nothing. 400 `token_invalid`; 410."""
        now = clock.now()
        row = await self.invitations.token(token_id(TEAM_INVITATION, token))
        if row is not None and row.organization_id is not None and row.subject_id is not None:
            invitation = await self.invitations.of(row.organization_id, row.subject_id)
            if invitation is not None and invitation.status == "declined":
                return
        held = await hold(self.session, await locate(self.session, token, now), now)
        this = Invitation.id == held.invitation.id
        await close(self.session, held.organization.id, this, status="declined", now=now)


class AcceptingService:
    """Serves signed-in people who are invited."""

    def __init__(self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal
        self.invitations = InvitationRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        assert principal.session_id is not None  # noqa: S101 - as above
        self.user_id: UUID = principal.user_id
        self.session_id: UUID = principal.session_id

    async def list(self, query: PageQuery) -> Rows[MyInvitation]:
        """The open invitations to the caller's confirmed address, newest first."""
        user = await self._caller()
        statement = self.invitations.open_for(user.email_canonical, clock.now())
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        return rows.map(lambda row: mine(as_card(row)))

    async def accept(self, token: str, *, switch: bool) -> Joined:
        """Become a member by the token of the mail, and with `switch` work there at once.

        400 `token_invalid`; 402 `plan_limit_reached`; 403 `invitation_email_mismatch`,
        `session_limited_to_organization`; 409 `already_member`; 410 `token_used`, `token_expired`,
        `invitation_revoked`. Only success, and being a member already, use the invitation up.
        """
        now = clock.now()
        return await self._accept(await locate(self.session, token, now), now, switch=switch)

    async def accept_mine(self, invitation_id: UUID, *, switch: bool) -> Joined:
        """The same for an open invitation to the caller's address. 404 for any other."""
        now = clock.now()
        invitation = await self._mine(invitation_id)
        if invitation is None:
            raise NotFound()
        reference = Reference(invitation.organization_id, invitation.id, None)
        return await self._accept(reference, now, switch=switch)

    async def decline_mine(self, invitation_id: UUID) -> None:
        """Refuse an invitation to the caller's address; refusing again changes nothing. 404."""
        now = clock.now()
        invitation = await self._mine(invitation_id)
        if invitation is None:
            raise NotFound()
        if invitation.status == "declined":
            return
        held = await hold(self.session, Reference(invitation.organization_id, invitation.id, None), now)
        this = Invitation.id == held.invitation.id
        await close(self.session, held.organization.id, this, status="declined", now=now)

    async def _accept(self, reference: Reference, now: datetime, *, switch: bool) -> Joined:
        held = await hold(self.session, reference, now)
        user = await self._caller(lock=True)
        await self._refuse_other_sso(held.organization.id)
        is_confirmed = user.email_confirmed_at is not None
        refuse_other_address(held.invitation.email_canonical, user.email_canonical if is_confirmed else None)
        choice = await granted(self.session, held)
        if await TeamRepository(self.session).member_of(held.organization.id, user.id) is not None:
            await self._cancel_needless(reference, now)
            raise Conflict("already_member", ALREADY_MEMBER)
        try:
            await join(self.session, held, choice, user, now)
        except PaymentRequired as refusal:
            await remember_limit(self.session, self.database, reference.organization_id, refusal)
            raise
        answer = joined(held.organization, choice.key)
        if switch:
            await self._switch(reference.organization_id)
        return answer

    async def _switch(self, organization_id: UUID) -> None:
        """Enter the organisation, unless it demands more of a session than this one has."""
        try:
            await SessionService(self.session, self.principal).switch_organization(organization_id)
        except (Forbidden, Unauthenticated):
            return

    async def _cancel_needless(self, reference: Reference, now: datetime) -> None:
        """Cancel the invitation of a member, and keep that although the request is refused."""
        async with remembered(self.session, self.database) as own:
            await TeamRepository(own).lock_organization(reference.organization_id)
            this = Invitation.id == reference.invitation_id
            await close(own, reference.organization_id, this, status="cancelled", now=now)

    async def _refuse_other_sso(self, organization_id: UUID) -> None:
        bound_to = await TeamSessionRepository(self.session).scope(self.session_id)
        if bound_to is not None and bound_to != organization_id:
            raise refusal_for("session_limited_to_organization", get_settings())

    async def _mine(self, invitation_id: UUID) -> Invitation | None:
        user = await self._caller()
        return await self.invitations.addressed_to(invitation_id, user.email_canonical)

    async def _caller(self, *, lock: bool = False) -> User:
        user = await self.invitations.person(self.user_id, lock=lock)
        if user is None:
            raise session_revoked()
        return user


Holding = Annotated[HolderService, Depends()]
Accepting = Annotated[AcceptingService, Depends()]
