"""Owns how an invitation becomes a membership: its judgement under the organisation's lock, and the seat.

Accepting with an account and signing up both go through here, in this order: `locate`, `hold`,
`refuse_other_address`, `granted`, `join`.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.errors import Conflict, Forbidden, Gone, NotFound, translate_constraint
from app.core.events import emit
from app.core.ids import uuid7
from app.models.auth import User
from app.models.team import Invitation, Organization, TeamMember
from app.repositories.team import TeamRepository
from app.repositories.team.invitations import InvitationRepository
from app.services.auth.one_time_tokens import TEAM_INVITATION, is_live, token_id, why_dead
from app.services.auth.refusals import token_invalid
from app.services.billing.entitlements import check_gauge
from app.services.team.desk import RoleChoice
from app.services.team.events.members import MemberJoined
from app.services.team.invitations.granting import is_granted, role_offered

ALREADY_MEMBER = "You are a member of this organisation already."

translate_constraint("team_members_user_key", Conflict("already_member", ALREADY_MEMBER))


@dataclass(frozen=True, slots=True)
class Reference:
    """An invitation by its ids, and the token by which it was found, if it was by one."""

    organization_id: UUID
    invitation_id: UUID
    token_id: UUID | None


@dataclass(frozen=True, slots=True)
class Held:
    """An open invitation of an organisation whose lock this transaction has."""

    organization: Organization
    invitation: Invitation


async def locate(session: SystemSession, token: str, now: datetime) -> Reference:
    """The invitation of a live token, read without a lock. 400 `token_invalid`; 410 as `why_dead`."""
    identifier = token_id(TEAM_INVITATION, token)
    row = await InvitationRepository(session).token(identifier)
    if row is None or row.organization_id is None or row.subject_id is None:
        raise token_invalid()
    if not is_live(row, now):
        raise await why_dead(session, TEAM_INVITATION, identifier, now)
    return Reference(row.organization_id, row.subject_id, identifier)


async def hold(session: SystemSession, reference: Reference, now: datetime) -> Held:
    """Lock the organisation of an invitation, which is still open. 410; without a token 404."""
    organization = await TeamRepository(session).lock_organization(reference.organization_id)
    if organization is None:
        raise revoked()
    invitations = InvitationRepository(session)
    invitation = await invitations.of(reference.organization_id, reference.invitation_id)
    token = await invitations.token(reference.token_id) if reference.token_id else None
    is_open = invitation is not None and invitation.status == "pending" and invitation.expires_at > now
    if invitation is None or not is_open or (token is not None and (token.consumed_at or token.voided_at)):
        if reference.token_id is None:
            raise NotFound()
        raise await why_dead(session, TEAM_INVITATION, reference.token_id, now)
    return Held(organization, invitation)


async def invited_address(session: SystemSession, reference: Reference) -> str | None:
    """The canonical address that an invitation is for, read without a lock."""
    invitation = await InvitationRepository(session).of(reference.organization_id, reference.invitation_id)
    return invitation.email_canonical if invitation is not None else None


def refuse_other_address(invited: str | None, canonical: str | None) -> None:
    """403 `invitation_email_mismatch` unless the confirmed address is the one that was invited."""
    if canonical is None or canonical != invited:
        raise Forbidden(
            "invitation_email_mismatch",
            "This invitation is for another address; sign in with the account that has it.",
        )


async def granted(session: SystemSession, held: Held) -> RoleChoice:
    """The role of an invitation, if whoever sent it may still give it. 410 `invitation_revoked`."""
    choice = await role_offered(session, held.invitation)
    if choice is None or not await is_granted(session, held.invitation, choice):
        raise revoked()
    return choice


async def join(
    session: SystemSession, held: Held, choice: RoleChoice, user: User, now: datetime
) -> TeamMember:
    """Make a locked person, who is no member yet, one by an open invitation. 402 `plan_limit_reached`."""
    organization_id = held.organization.id
    invitation = held.invitation
    members, open_seats = await TeamRepository(session).count_seats(organization_id, now)
    # The invitation has kept a seat until now, and becomes a member's.
    await check_gauge(session, organization_id, "team_members", 1, used=members, pending=open_seats - 1)
    member = TeamMember(
        organization_id=organization_id,
        id=uuid7(),
        user_id=user.id,
        role=choice.role,
        team_role_id=choice.team_role_id,
        source="invitation",
        invited_by=invitation.invited_by,
        joined_at=now,
    )
    invitations = InvitationRepository(session)
    closed = await invitations.close(
        Invitation.organization_id == organization_id,
        Invitation.id == invitation.id,
        status="accepted",
        now=now,
        accepted_by=user.id,
    )
    if not closed:
        raise revoked()
    await invitations.add_member(member)
    await emit(
        session,
        MemberJoined(member_id=member.id, user_id=user.id, role=choice.key, source="invitation"),
        organization_id=organization_id,
        private={"organization_id": organization_id, "invited_by": invitation.invited_by},
    )
    return member


def revoked() -> Gone:
    """410 for an invitation that nobody stands behind any more."""
    return Gone("invitation_revoked", "This invitation is not valid any more; ask for a new one.")
