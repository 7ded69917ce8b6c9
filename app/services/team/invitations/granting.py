"""Owns which role an invitation offers, and the rule that nobody offers more than they have."""

from dataclasses import dataclass
from uuid import UUID

from app.core.database import ScopedSession
from app.core.errors import FieldError, Forbidden, Invalid
from app.core.permissions import ROLE_NAMES, ROLE_PERMISSIONS, Permission, Role, permissions_of
from app.models.team import Invitation, TeamRole
from app.repositories.team import RoleRepository, TeamRepository
from app.repositories.team.invitations import InvitationRepository


@dataclass(frozen=True, slots=True)
class Offer:
    """A role that can be given: as the tables write it, as callers know it, and what it allows."""

    role: str
    team_role_id: UUID | None
    key: str
    name: str
    permissions: frozenset[Permission]


def role_name(key: str, custom: str | None) -> str:
    """What a role is called; a custom one that is gone by its key."""
    return ROLE_NAMES[Role(key)] if key in ROLE_NAMES else custom or key


async def find_offer(session: ScopedSession, organization_id: UUID, key: str) -> Offer:
    """The role of an organisation with this key. 422 `unknown_role`; 403 `role_not_grantable` for `owner`."""
    if key == Role.owner:
        raise not_grantable()
    if key in ROLE_NAMES:
        role = Role(key)
        return Offer(role.value, None, role.value, ROLE_NAMES[role], ROLE_PERMISSIONS[role])
    custom = await RoleRepository(session).by_key(organization_id, key)
    if custom is None:
        detail = "There is no such role; see GET /api/team/roles."
        raise Invalid("unknown_role", detail, errors=[FieldError("/role", "unknown_role", detail)])
    return _custom(custom)


async def offer_of(session: ScopedSession, invitation: Invitation) -> Offer | None:
    """The role that an open invitation offers, as it is today; None when there is no such role any more."""
    if invitation.team_role_id is None:
        role = Role(invitation.role)
        return Offer(role.value, None, role.value, ROLE_NAMES[role], ROLE_PERMISSIONS[role])
    custom = await RoleRepository(session).find(invitation.organization_id, invitation.team_role_id)
    return _custom(custom) if custom is not None else None


async def is_granted(session: ScopedSession, invitation: Invitation, offer: Offer) -> bool:
    """Whether who sent an invitation may still send it: an active member who may offer that role today."""
    if invitation.invited_by is None:
        return False
    standing = await TeamRepository(session).standing(
        invitation.organization_id, user_id=invitation.invited_by
    )
    if standing is None or standing.member.status != "active":
        return False
    inviter = await InvitationRepository(session).person(invitation.invited_by)
    if inviter is None or inviter.status != "active":
        return False
    return Permission.members_invite in standing.permissions and offer.permissions <= standing.permissions


def refuse_upward(permissions: frozenset[Permission], offer: Offer) -> None:
    """403 `role_not_grantable` when a role allows something that the caller may not do."""
    if not offer.permissions <= permissions:
        raise not_grantable()


def not_grantable() -> Forbidden:
    """403 for a role that is above the caller's own, or that nobody gives away."""
    return Forbidden("role_not_grantable", "You can only give roles whose permissions you all have yourself.")


def _custom(row: TeamRole) -> Offer:
    return Offer("custom", row.id, row.key, row.name, permissions_of("custom", row.permissions))
