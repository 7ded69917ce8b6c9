"""What a session is as the access check sees it: the one statement, and what its row allows."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import Row, text

ACTIVITY_STEP = timedelta(seconds=60)
"""`last_activity_at` of a session is exact to this; writing it at every request would double its cost."""

_SESSION = """
    SELECT s.id, s.user_id, s.auth_method, s.aal, s.sso_organization_id, s.step_up_at,
           COALESCE(s.step_up_at, s.created_at) AS checked_at,
           s.last_activity_at, s.expires_at, s.idle_seconds, s.revoked_at,
           COALESCE({asked}, s.organization_id) AS asked_id, s.organization_id AS active_id,
           u.status AS user_status, o.id AS organization_id, o.require_mfa, o.sso_enforced,
           o.session_max_seconds, o.session_idle_seconds,
           m.status AS member_status, m.role, m.must_use_sso, m.access_valid_from, r.permissions
    FROM sessions s
    JOIN users u ON u.id = s.user_id
    LEFT JOIN team_members m
           ON m.organization_id = COALESCE({asked}, s.organization_id) AND m.user_id = s.user_id
    LEFT JOIN organizations o ON o.id = m.organization_id AND o.deleted_at IS NULL
    LEFT JOIN team_roles r ON r.organization_id = m.organization_id AND r.id = m.team_role_id
    WHERE s.id = {session_id}
    """

SESSION_SQL = _SESSION.format(asked="CAST($2 AS uuid)", session_id="$1")

SESSIONS_SQL = text(
    "SELECT found.* FROM unnest(CAST(:session_ids AS uuid[]), CAST(:asked AS uuid[]))"  # noqa: S608 - both stand here
    " AS wanted (session_id, asked) CROSS JOIN LATERAL ("
    + _SESSION.format(asked="wanted.asked", session_id="wanted.session_id")
    + ") AS found"
)
"""The same for many sessions at once: open streams are judged by it again and again."""

TOUCH_SQL = text(
    """
    UPDATE sessions SET last_activity_at = :now WHERE id IN (
        SELECT id FROM sessions WHERE id = :session_id AND last_activity_at < :before FOR UPDATE SKIP LOCKED)
    """
)


class SessionRow(NamedTuple):
    """What the statement above answers, column by column."""

    id: UUID
    user_id: UUID
    auth_method: str
    aal: int
    sso_organization_id: UUID | None
    step_up_at: datetime | None
    checked_at: datetime
    last_activity_at: datetime
    expires_at: datetime
    idle_seconds: int
    revoked_at: datetime | None
    asked_id: UUID | None
    active_id: UUID | None
    user_status: str
    organization_id: UUID | None
    require_mfa: bool | None
    sso_enforced: bool | None
    session_max_seconds: int | None
    session_idle_seconds: int | None
    member_status: str | None
    role: Any  # A string where there is a membership.
    must_use_sso: bool | None
    access_valid_from: datetime | None
    permissions: list[str] | None


Facts: TypeAlias = "SessionRow | Row[Any]"
"""Columns of that statement by name, wherever they were read."""


def ended_by(row: Facts, now: datetime) -> str | None:
    """The code of point 2 that this session meets wherever it goes, or None while it lives."""
    if row.revoked_at or row.user_status != "active":
        return "session_revoked"
    return "session_expired" if ends_at(row) <= now else None


def ends_at(row: Facts) -> datetime:
    """When this session ends unless there is activity: its last moment, or the end of its idle time."""
    idle_until: datetime = row.last_activity_at + timedelta(seconds=row.idle_seconds)
    last_moment: datetime = row.expires_at
    return min(last_moment, idle_until)


def blocked_by(row: Facts, now: datetime) -> str | None:  # noqa: PLR0911 - one return per point of the page
    """The code of points 4 to 8 that stops this session in the asked organisation, or None."""
    own_sso = row.sso_organization_id is not None and row.sso_organization_id == row.asked_id
    if row.sso_organization_id is not None and not own_sso:
        return "session_limited_to_organization"
    if row.member_status != "active":
        return "membership_suspended"
    if row.must_use_sso and not own_sso and row.auth_method != "break_glass":
        return "sso_required"
    needs_second_factor = row.require_mfa or (row.sso_enforced and not own_sso)
    if needs_second_factor and row.aal == 1:
        return "mfa_enrollment_required"
    if row.access_valid_from is not None and row.access_valid_from > row.checked_at:
        return "step_up_required"
    if row.session_max_seconds and row.checked_at + timedelta(seconds=row.session_max_seconds) <= now:
        return "step_up_required"
    if row.session_idle_seconds and row.last_activity_at + timedelta(seconds=row.session_idle_seconds) <= now:
        return "step_up_required"
    return None
