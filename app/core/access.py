"""Who may call: the Principal, the one check that makes it from a credential, the markers of routes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, cast
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import Row, text

from app.core import clock
from app.core.callers import Recognized
from app.core.client_address import address_key, client_address
from app.core.config import Settings, get_settings
from app.core.crypto import AccessTokenExpired, AccessTokenInvalid, key_ring, verify_access_token
from app.core.errors import Forbidden, NotFound, Unauthenticated
from app.core.key_access import admit_key, key_of
from app.core.limits import enforce, settle_limits
from app.core.permissions import Permission, permissions_of

if TYPE_CHECKING:
    from app.core.database import Database

ACTIVITY_STEP = timedelta(seconds=60)
"""`last_activity_at` of a session is exact to this; writing it at every request would double its cost."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, in which organisation, with which rights. Made by `authenticate`, or by a job for itself."""

    kind: Literal["user", "api_key", "system"]
    user_id: UUID | None = None
    organization_id: UUID | None = None
    permissions: frozenset[Permission] = frozenset()
    role: str | None = None
    session_id: UUID | None = None
    key_id: UUID | None = None
    aal: int = 1
    auth_method: str | None = None
    step_up_at: datetime | None = None
    name: str | None = field(default=None, compare=False)
    """Of a job: what history shows as its actor."""

    @property
    def actor_type(self) -> str:
        """How history and events name this kind of caller."""
        return self.kind

    @property
    def actor_id(self) -> UUID | str | None:
        """The person, the key or the job."""
        return {"user": self.user_id, "api_key": self.key_id, "system": self.name}[self.kind]

    @property
    def limit_key(self) -> str:
        """Whom rate limits count."""
        return f"{self.kind}:{self.actor_id}"

    def may(self, permission: Permission) -> bool:
        """Whether the caller holds this permission in the active organisation."""
        return permission in self.permissions


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


def step_up_required(settings: Settings) -> Unauthenticated:
    """The answer that asks for a recent second check (RFC 9470)."""
    return Unauthenticated(
        "step_up_required",
        "Confirm your identity with POST /api/auth/step-up and repeat the request.",
        headers={
            "WWW-Authenticate": 'Bearer error="insufficient_user_authentication", '
            f"max_age={settings.step_up_seconds}"
        },
    )


def refused_token(code: str, detail: str) -> Unauthenticated:
    """401 for a token that was sent and is not good."""
    return Unauthenticated(code, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer …`; a token anywhere else is not read."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("unauthenticated", "Send `Authorization: Bearer <access token>`.")
    return token.strip()


@dataclass(frozen=True, slots=True)
class Marker:
    """What a route says about its callers; an instance is a dependency that makes the Principal."""

    access: Literal["allow", "public", "signed"]
    permission: Permission | None = None
    is_key_ok: bool = False
    needs_step_up: bool = False
    reason: str | None = None
    is_for_staff: bool = False
    key_scope: Permission | None = None
    """What a key needs; a person needs `permission`."""

    async def __call__(self, request: Request) -> Principal | None:
        if self.access != "allow":
            return None
        principal = await self.identify(request)
        request.state.principal = principal
        request.state.is_about_person = self.permission is None
        if principal.kind == "user":
            await enforce(request, "session", key=str(principal.session_id), by_address=True)
        await settle_limits(request)
        return principal

    async def identify(self, request: Request) -> Principal:
        """The caller by the credential that the route takes; raises what `authenticate` raises."""
        return await authenticate(request, self)


def allow(
    permission: Permission | None = None, *, key: bool | Permission = False, step_up: bool = False
) -> Marker:
    """Callers who hold `permission` in the active organisation; without one, every signed-in person.

    `key`: an API key with the scope of the same name may come too, or with that scope where people need none.
    `step_up`: the second check is recent.
    """
    scope = key if isinstance(key, Permission) else permission
    return Marker("allow", permission, key is not False, step_up, key_scope=scope)


def staff(*, step_up: bool = False) -> Marker:
    """The platform's staff (`PLATFORM_STAFF_IDS`) in a session of aal 2; no role and no key holds it."""
    return Marker("allow", needs_step_up=step_up, is_for_staff=True)


def public(reason: str) -> Marker:
    """Everybody, and why."""
    return Marker("public", reason=reason)


def signed(by: str) -> Marker:
    """Callers who prove themselves by a signature or a shared token that the route itself checks."""
    return Marker("signed", reason=by)


async def authenticate(request: Request, marker: Marker) -> Principal:
    """Turn the request's credential into a Principal and judge it for this route, with one statement.

    The order of judgement is that of the authentication page, section 5; the first that applies answers.
    """
    settings = get_settings()
    now = clock.now()
    key = key_of(request.headers)
    if key is not None:
        admitted = await admit_key(request, key, is_open=marker.is_key_ok, needed=marker.key_scope)
        return Principal(
            kind="api_key",
            organization_id=admitted.organization_id,
            permissions=admitted.permissions,
            key_id=admitted.key_id,
        )
    try:
        token = bearer_token(request.headers)
        claims = verify_access_token(key_ring(), token, issuer=settings.api_url, now=now)
    except AccessTokenExpired:
        raise refused_token("access_token_expired", "The access token has expired; refresh it.") from None
    except AccessTokenInvalid:
        address = address_key(client_address(request.scope, settings.trusted_proxies))
        await enforce(request, "bad_token_ip", key=address, by_address=True)
        raise refused_token("access_token_invalid", "This is not an access token of this service.") from None
    return await principal_of_session(
        request, marker, claims.session_id, claims.user_id, asked_organization(request)
    )


async def principal_of_session(
    request: Request, marker: Marker, session_id: UUID, user_id: UUID, asked: UUID | None
) -> Principal:
    """The Principal of a session whose credential was good, in the organisation `asked`, judged for a route.

    Without `asked` it is the session's active organisation. One statement, and at most one more that notes
    the activity.
    """
    settings = get_settings()
    now = clock.now()
    database: Database = request.app.state.database
    found = await database.reads.rows(SESSION_SQL, session_id, asked)
    row = SessionRow._make(found[0]) if found else None
    ended = "session_revoked" if row is None or row.user_id != user_id else ended_by(row, now)
    if row is None or ended is not None:
        raise ended_session(ended)
    request.state.recognized = Recognized("user", row.organization_id, row.user_id, row.id)
    permissions = _judge_membership(row, marker, now, settings)
    if marker.is_for_staff:
        _judge_staff(row, settings)
    if marker.needs_step_up and not _is_recent(row.step_up_at, now, settings):
        raise step_up_required(settings)
    if row.last_activity_at < now - ACTIVITY_STEP:
        async with database.transaction() as session:
            await session.execute(
                TOUCH_SQL, {"session_id": row.id, "now": now, "before": now - ACTIVITY_STEP}
            )
    return Principal(
        kind="user",
        user_id=row.user_id,
        organization_id=row.organization_id if permissions else None,
        permissions=permissions,
        role=row.role,
        session_id=row.id,
        aal=row.aal,
        auth_method=row.auth_method,
        step_up_at=row.step_up_at,
    )


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


def ended_session(code: str | None) -> Unauthenticated:
    """401 for a session that `ended_by` stopped; there is no such session: `session_revoked`."""
    if code == "session_expired":
        return refused_token(code, "This session has expired; sign in again.")
    return refused_token("session_revoked", "This session was ended; sign in again.")


def asked_organization(request: Request) -> UUID | None:
    """The organisation that `X-Organization-Id` names, if it is sent; 404 for what is no id."""
    asked = request.headers.get("x-organization-id")
    if asked is None:
        return None
    try:
        return UUID(asked)
    except ValueError:
        raise NotFound(detail="There is no such organisation for you.") from None


def _judge_membership(row: Facts, marker: Marker, now: datetime, settings: Settings) -> frozenset[Permission]:
    """Points 3 to 9: the membership in the asked organisation, its demands, the permission."""
    if marker.permission is None:
        if row.member_status != "active" or row.organization_id is None:
            return frozenset()
        return permissions_of(row.role, row.permissions)
    if row.organization_id is None:
        raise NotFound(detail="There is no such organisation for you.")
    blocked = blocked_by(row, now)
    if blocked is not None:
        raise refusal_for(blocked, settings)
    permissions = permissions_of(row.role, row.permissions)
    if marker.permission not in permissions:
        raise Forbidden(
            "permission_denied",
            f"Your role lacks the permission `{marker.permission}`.",
            permission=marker.permission,
        )
    return permissions


def _judge_staff(row: SessionRow, settings: Settings) -> None:
    """The platform's own permission, which no organisation gives."""
    if row.aal < 2 or str(row.user_id) not in settings.platform_staff_ids:
        raise Forbidden(
            "permission_denied",
            "This is for the platform's staff, signed in with a second factor.",
            permission=Permission.platform_manage,
        )


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


REFUSALS = {
    "session_limited_to_organization": "This session belongs to the single sign-on of another organisation.",
    "membership_suspended": "Your membership in this organisation is suspended; ask an administrator.",
    "sso_required": "This organisation is entered through its single sign-on only.",
    "mfa_enrollment_required": "This organisation demands a second factor; set one up in your settings.",
}


def refusal_for(code: str, settings: Settings) -> Forbidden | Unauthenticated:
    """The answer to a session that `blocked_by` stopped."""
    if code == "step_up_required":
        return step_up_required(settings)
    if code == "sso_required":
        return Forbidden(code, REFUSALS[code], login_url=f"{settings.app_url}/login")
    return Forbidden(code, REFUSALS[code])


def _is_recent(step_up_at: datetime | None, now: datetime, settings: Settings) -> bool:
    return step_up_at is not None and step_up_at > now - timedelta(seconds=settings.step_up_seconds)


async def current_principal(request: Request) -> Principal:
    """The Principal that the route's marker made; a route that lets everybody in has none."""
    # A coroutine, because FastAPI sends plain functions to a thread.
    return cast("Principal", request.state.principal)


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
