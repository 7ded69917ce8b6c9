"""Owns which role an invitation offers today, and whether whoever sent it may still give it."""

from app.core.database import ScopedSession
from app.core.permissions import ROLE_NAMES, Permission, Role
from app.models.team import Invitation
from app.repositories.team import RoleRepository, TeamRepository
from app.repositories.team.invitations import InvitationRepository
from app.services.team.desk import RoleChoice


def role_name(key: str, custom: str | None) -> str:
    """What a role is called; a custom one that is gone by its key."""
    return ROLE_NAMES[Role(key)] if key in ROLE_NAMES else custom or key


async def role_offered(session: ScopedSession, invitation: Invitation) -> RoleChoice | None:
    """The role that an open invitation offers, as it is today; None when there is no such role any more."""
    if invitation.team_role_id is None:
        return RoleChoice.built_in(Role(invitation.role))
    custom = await RoleRepository(session).find(invitation.organization_id, invitation.team_role_id)
    return RoleChoice.custom(custom) if custom is not None else None


async def is_granted(session: ScopedSession, invitation: Invitation, choice: RoleChoice) -> bool:
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
    return Permission.members_invite in standing.permissions and choice.permissions <= standing.permissions
