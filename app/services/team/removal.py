"""Owns what goes with a membership when it ends: sessions, keys, invitations, a managed account."""

from datetime import datetime

from app.core.database import SystemSession
from app.models.team import TeamMember
from app.repositories.team import TeamRepository
from app.schemas.team.members import Removal
from app.services.integrations.connections import mark_owner_left
from app.services.integrations.revoking import revoke_keys_of
from app.services.notifications.inbox.pruning import forget_notices_of
from app.services.team.invitations import cancel_invitations_of
from app.services.team.sessions import send_home
from app.services.team.transfers import cancel_transfer_to


async def end_membership(session: SystemSession, member: TeamMember, now: datetime) -> Removal:
    """Delete a membership with everything that hangs on it, and answer what that was.

    The caller holds the lock of the organisation. What the person made for it stays.
    """
    organization_id, user_id = member.organization_id, member.user_id
    team = TeamRepository(session)
    await team.release_managed(organization_id, user_id)
    await team.remove(member)
    sessions = await send_home(session, organization_id, user_id, now)
    keys = await revoke_keys_of(session, organization_id, user_id, "member_removed")
    integrations = await mark_owner_left(session, organization_id, user_id)
    invitations = await cancel_invitations_of(session, organization_id, user_id)
    await cancel_transfer_to(session, organization_id, user_id)
    await forget_notices_of(session, organization_id, user_id)
    return Removal(
        member_id=member.id,
        sessions=sessions,
        api_keys=keys,
        invitations=invitations,
        # Nothing keeps identities of an organisation's single sign-on, so there are none.
        identities=0,
        integrations=integrations,
    )
