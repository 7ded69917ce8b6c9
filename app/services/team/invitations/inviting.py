"""Owns sending invitations: one or several, again, and taking them back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, SystemSession, Unscoped
from app.core.errors import (
    AppError,
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    PaymentRequired,
    translate_constraint,
)
from app.core.events import emit
from app.core.ids import uuid7
from app.core.mail_addresses import MailAddress, parse_address
from app.core.permissions import Permission
from app.models.team import Invitation
from app.repositories.team import TeamRepository
from app.repositories.team.invitations import InvitationRepository
from app.schemas.team.invitations import InvitationRead, InvitedMany, InvitedOne
from app.services.auth.one_time_tokens import TEAM_INVITATION, issue
from app.services.billing.entitlements import check_gauge
from app.services.team.desk import Actor, RoleChoice, active_organization, enter_team, find_role, person_of
from app.services.team.events.invitations import InvitationResent, InvitationSent, MemberInvited
from app.services.team.invitations.closing import close
from app.services.team.invitations.granting import role_offered
from app.services.team.invitations.limits import InvitationLimits, remember_limit, tell_limit
from app.services.team.invitations.views import read

translate_constraint(
    "invitations_pending_key", Conflict("invitation_pending", "This address was invited a moment ago.")
)

PAUSE = timedelta(seconds=60)
"""So long at least between two mails of one invitation."""


@dataclass(frozen=True, slots=True)
class Inviter:
    """Who invites, under the lock of the organisation: what counts is what they may do now."""

    actor: Actor
    organization_id: UUID
    user_id: UUID
    canonical: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """What every address of one request gets."""

    choice: RoleChoice
    message: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one address that was not refused."""

    status: Literal["invited", "already_pending"]
    invitation: InvitationRead


class InvitingService:
    """Sends the invitations of the caller's organisation, all of it under the organisation's lock."""

    def __init__(
        self, session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal, limits: InvitationLimits
    ) -> None:
        self.session = session
        self.database = database
        self.limits = limits
        self.invitations = InvitationRepository(session)
        self.principal = principal
        self.organization_id = active_organization(principal)
        self.user_id = person_of(principal)

    async def invite(self, email: str, role: str, message: str | None) -> Outcome:
        """Invite an address, or find that it is invited into this role already.

        402 `plan_limit_reached`; 403 `role_not_grantable`; 409 `already_member`, `invitation_pending`; 422
        `own_address`, `unknown_role`; 429. Whether the address has an account plays no part.
        """
        await self.limits.count(self.organization_id)
        try:
            inviter = await self._enter()
            address = parse_address(email)
            _refuse_own(inviter, address)
            wish = await self._wish(inviter, role, message)
            return await self._invite(inviter, wish, address)
        except PaymentRequired as refusal:
            await remember_limit(self.session, self.database, self.organization_id, refusal)
            raise

    async def invite_all(self, emails: list[str], role: str, message: str | None) -> InvitedMany:
        """Invite several addresses in their order, each by itself; those that are refused say why.

        403 and 422 for the role, 429 when not even the first is within the limit.
        """
        allowed = await self.limits.count_several(self.organization_id, len(emails))
        inviter = await self._enter()
        wish = await self._wish(inviter, role, message)
        items: list[InvitedOne] = []
        stopped: PaymentRequired | None = None
        for email in emails[:allowed]:
            try:
                outcome = await self._invite_apart(inviter, wish, _address(email))
            except AppError as refusal:
                stopped = refusal if isinstance(refusal, PaymentRequired) else stopped
                items.append(_refused(email, refusal.code))
            else:
                items.append(
                    InvitedOne(email=email, status=outcome.status, code=None, invitation=outcome.invitation)
                )
        items += [_refused(email, "rate_limited") for email in emails[allowed:]]
        if stopped is not None:
            await tell_limit(self.session, self.organization_id, stopped)
        return InvitedMany(items=items)

    async def resend(self, invitation_id: UUID) -> InvitationRead:
        """Mail an invitation again with a new token, for which the caller answers from now on.

        403 `role_not_grantable`; 404; 409 `invitation_not_pending`, `resend_limit_reached`.
        """
        inviter = await self._enter()
        invitation = await self._open(inviter, invitation_id)
        wait = invitation.last_sent_at + PAUSE - inviter.now
        if invitation.send_count >= get_settings().invitation_max_sends:
            raise Conflict(
                "resend_limit_reached", "It was mailed often enough; cancel it and invite the person anew."
            )
        if wait > timedelta(0):
            raise Conflict(
                "resend_limit_reached",
                "It was mailed a moment ago; wait a minute.",
                headers={"Retry-After": str(int(wait.total_seconds()) + 1)},
            )
        await self._send_again(inviter, invitation)
        return await self._shown(invitation, inviter.now)

    async def cancel(self, invitation_id: UUID) -> None:
        """Take an invitation back. 403 `role_not_grantable`; 404; 409 `invitation_not_pending`."""
        inviter = await self._enter()
        invitation = await self._open(inviter, invitation_id)
        this = Invitation.id == invitation.id
        await close(self.session, self.organization_id, this, status="cancelled", now=inviter.now)

    async def _enter(self) -> Inviter:
        """Lock the organisation, and judge again what the caller may do in it."""
        actor = await enter_team(self.session, self.principal, Permission.members_invite)
        user = await self.invitations.person(self.user_id)
        if user is None:
            raise NotFound(detail="There is no such organisation for you.")
        return Inviter(actor, self.organization_id, self.user_id, user.email_canonical, clock.now())

    async def _wish(self, inviter: Inviter, role: str, message: str | None) -> Wish:
        choice = await find_role(self.session, inviter.organization_id, role)
        inviter.actor.refuse_to_grant(choice)
        return Wish(choice, message)

    async def _open(self, inviter: Inviter, invitation_id: UUID) -> Invitation:
        """An invitation that the caller may change. 403, 404, 409."""
        invitation = await self.invitations.of(inviter.organization_id, invitation_id)
        if invitation is None:
            raise NotFound()
        # A closed invitation may offer a role that is gone; then its state alone refuses.
        choice = await role_offered(self.session, invitation) if invitation.status == "pending" else None
        if choice is not None:
            inviter.actor.refuse_to_grant(choice)
        if invitation.status != "pending" or invitation.expires_at <= inviter.now:
            raise Conflict("invitation_not_pending", "This invitation was answered, cancelled or is too old.")
        return invitation

    async def _invite_apart(self, inviter: Inviter, wish: Wish, address: MailAddress) -> Outcome:
        """Invite one of several addresses; a refusal undoes this one alone."""
        async with self.session.begin_nested():
            _refuse_own(inviter, address)
            return await self._invite(inviter, wish, address)

    async def _invite(self, inviter: Inviter, wish: Wish, address: MailAddress) -> Outcome:
        organization_id = inviter.organization_id
        late = (Invitation.email_canonical == address.canonical, Invitation.expires_at <= inviter.now)
        await close(self.session, organization_id, *late, status="expired", now=inviter.now)
        team = TeamRepository(self.session)
        if await team.standing(organization_id, canonical=address.canonical) is not None:
            raise Conflict("already_member", "This person is a member already.")
        pending = await self.invitations.pending_for(organization_id, address.canonical)
        if pending is not None:
            return await self._repeat(inviter, wish, pending)
        members, open_seats = await team.count_seats(organization_id, inviter.now)
        await check_gauge(self.session, organization_id, "team_members", 1, used=members, pending=open_seats)
        invitation = await self.invitations.add(
            Invitation(
                organization_id=organization_id,
                id=uuid7(),
                email=address.address,
                email_canonical=address.canonical,
                role=wish.choice.role,
                team_role_id=wish.choice.team_role_id,
                role_key=wish.choice.key,
                message=wish.message,
                invited_by=inviter.user_id,
                status="pending",
                expires_at=_expiry(inviter.now),
                send_count=1,
                last_sent_at=inviter.now,
                created_at=inviter.now,
            )
        )
        role = invitation.role_key
        event = MemberInvited(invitation_id=invitation.id, role=role, changes={"role": [None, role]})
        await _mail(self.session, event, invitation, inviter.now)
        return Outcome("invited", read(invitation, wish.choice.name, inviter.now))

    async def _repeat(self, inviter: Inviter, wish: Wish, pending: Invitation) -> Outcome:
        """The open invitation of an address that is invited once more; mailed again if it may be."""
        if pending.role_key != wish.choice.key:
            raise Conflict(
                "invitation_pending", "This address is invited into another role; cancel that first."
            )
        may_send = pending.send_count < get_settings().invitation_max_sends
        if may_send and pending.last_sent_at + PAUSE <= inviter.now:
            await self._send_again(inviter, pending)
        return Outcome("already_pending", read(pending, wish.choice.name, inviter.now))

    async def _send_again(self, inviter: Inviter, invitation: Invitation) -> None:
        invitation.invited_by = inviter.user_id
        invitation.send_count += 1
        invitation.last_sent_at = inviter.now
        invitation.expires_at = _expiry(inviter.now)
        await self.session.flush()
        event = InvitationResent(invitation_id=invitation.id, role=invitation.role_key)
        await _mail(self.session, event, invitation, inviter.now)

    async def _shown(self, invitation: Invitation, now: datetime) -> InvitationRead:
        found = await self.invitations.with_role(invitation.organization_id, invitation.id)
        return read(invitation, found[1] if found else None, now)


def _refused(email: str, code: str) -> InvitedOne:
    return InvitedOne(email=email, status="refused", code=code, invitation=None)


def _address(email: str) -> MailAddress:
    try:
        return parse_address(email)
    except ValueError:
        raise Invalid("email_invalid", "This is no e-mail address.") from None


def _refuse_own(inviter: Inviter, address: MailAddress) -> None:
    if address.canonical == inviter.canonical:
        detail = "This is your own address."
        raise Invalid("own_address", detail, errors=[FieldError("/email", "own_address", detail)])


def _expiry(now: datetime) -> datetime:
    return now + timedelta(seconds=get_settings().invitation_seconds)


async def _mail(session: SystemSession, event: InvitationSent, invitation: Invitation, now: datetime) -> None:
    """Make the one live token of an invitation, and have it mailed."""
    token_id = await issue(
        session,
        TEAM_INVITATION,
        str(invitation.id),
        now,
        organization_id=invitation.organization_id,
        subject_id=invitation.id,
        expires_at=invitation.expires_at,
    )
    await emit(
        session,
        event,
        organization_id=invitation.organization_id,
        private={
            "organization_id": invitation.organization_id,
            "email": invitation.email,
            "token_id": token_id,
        },
    )


Inviting = Annotated[InvitingService, Depends()]
