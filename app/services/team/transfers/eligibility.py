"""Owns who may become the owner of an organisation."""

from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.errors import Conflict
from app.models.auth import User
from app.models.team import Organization, TeamMember
from app.repositories.team import OrganizationRepository
from app.services.auth.second_factor import has_active_factor

REASONS = {
    "member_suspended": "The membership of this person is suspended; activate it first.",
    "account_not_active": "The account of this person is not active.",
    "email_not_confirmed": "This person has not confirmed their address yet.",
    "managed_account": "The account of this person is managed by an organisation.",
    "second_factor_missing": "This organisation demands a second factor; this person must set one up first.",
    "too_many_organizations": "This person owns as many organisations as one person may.",
}


async def refuse_ineligible(
    session: SystemSession, organization: Organization, member: TeamMember, user: User
) -> None:
    """409 `target_not_eligible` with the reason, unless this member may own the organisation."""
    reason = await _reason(session, organization, member, user)
    if reason is not None:
        raise not_eligible(reason)


async def refuse_if_owns_most(session: SystemSession, user: User) -> None:
    """409 `target_not_eligible` for somebody who owns as many organisations as one may."""
    owned = await OrganizationRepository(session).count_owned(user.id)
    if owned >= get_settings().max_owned_organizations:
        raise not_eligible("too_many_organizations")


def not_eligible(reason: str) -> Conflict:
    """409 with one of the reasons."""
    return Conflict("target_not_eligible", REASONS[reason], reason=reason)


async def _reason(
    session: SystemSession, organization: Organization, member: TeamMember, user: User
) -> str | None:
    if member.status != "active":
        return "member_suspended"
    if user.status != "active":
        return "account_not_active"
    if user.email_confirmed_at is None:
        return "email_not_confirmed"
    if user.managed_by_organization_id is not None:
        return "managed_account"
    needs_factor = organization.require_mfa or organization.sso_enforced
    if needs_factor and not await has_active_factor(session, user.id):
        return "second_factor_missing"
    return None
