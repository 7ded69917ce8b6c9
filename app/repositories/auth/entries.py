"""Owns what decides whether a session may enter an organisation: the columns that access is judged by."""

from typing import Any

from sqlalchemy import and_, func, select

from app.models.auth import UserSession
from app.models.team import Organization, TeamMember, TeamRole

_JUDGED = (
    UserSession.sso_organization_id,
    UserSession.auth_method,
    UserSession.aal,
    func.coalesce(UserSession.step_up_at, UserSession.created_at).label("checked_at"),
    UserSession.last_activity_at,
    Organization.id.label("asked_id"),
    Organization.require_mfa,
    Organization.sso_enforced,
    Organization.session_max_seconds,
    Organization.session_idle_seconds,
    TeamMember.status.label("member_status"),
    TeamMember.must_use_sso,
    TeamMember.access_valid_from,
)
"""What `core/access.blocked_by` reads; the statement of every request there has the same names."""


def memberships_of_sessions(*more: Any) -> Any:
    """The live organisations of people, seen from their sessions; `more` columns are for what is shown.

    Every row has the organisation's name, slug and kind, and the role with its key and permissions too.
    """
    return (
        select(
            *_JUDGED,
            Organization.id,
            Organization.name,
            Organization.slug,
            Organization.kind,
            TeamMember.role,
            TeamRole.key.label("role_key"),
            TeamRole.permissions,
            *more,
        )
        .select_from(UserSession)
        .join(TeamMember, TeamMember.user_id == UserSession.user_id)
        .join(
            Organization,
            and_(Organization.id == TeamMember.organization_id, Organization.deleted_at.is_(None)),
        )
        .outerjoin(
            TeamRole,
            and_(
                TeamRole.organization_id == TeamMember.organization_id, TeamRole.id == TeamMember.team_role_id
            ),
        )
    )
