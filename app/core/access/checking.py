"""The one check: from a request's credential to a Principal, judged for a route."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from fastapi import Request

from app.core import clock
from app.core.access.principal import Principal
from app.core.access.refusals import (
    ended_session,
    permission_denied,
    refusal_for,
    refused_token,
    step_up_required,
)
from app.core.access.sessions import (
    ACTIVITY_STEP,
    SESSION_SQL,
    TOUCH_SQL,
    Facts,
    SessionRow,
    blocked_by,
    ended_by,
)
from app.core.callers import Recognized
from app.core.client_address import address_key, client_address
from app.core.config import Settings, get_settings
from app.core.crypto import AccessTokenExpired, AccessTokenInvalid, key_ring, verify_access_token
from app.core.errors import Forbidden, NotFound, Unauthenticated
from app.core.key_access import admit_key, key_of
from app.core.limits import enforce
from app.core.permissions import Permission, permissions_of

if TYPE_CHECKING:
    from app.core.access.markers import Marker
    from app.core.database import Database


async def authenticate(request: Request, marker: "Marker") -> Principal:
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
    request: Request, marker: "Marker", session_id: UUID, user_id: UUID, asked: UUID | None
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
        is_staff=marker.is_for_staff,
    )


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer …`; a token anywhere else is not read."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("unauthenticated", "Send `Authorization: Bearer <access token>`.")
    return token.strip()


def asked_organization(request: Request) -> UUID | None:
    """The organisation that `X-Organization-Id` names, if it is sent; 404 for what is no id."""
    asked = request.headers.get("x-organization-id")
    if asked is None:
        return None
    try:
        return UUID(asked)
    except ValueError:
        raise NotFound(detail="There is no such organisation for you.") from None


def _judge_membership(
    row: Facts, marker: "Marker", now: datetime, settings: Settings
) -> frozenset[Permission]:
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
        raise permission_denied(marker.permission)
    return permissions


def _judge_staff(row: SessionRow, settings: Settings) -> None:
    """The platform's own permission, which no organisation gives."""
    if row.aal < 2 or str(row.user_id) not in settings.platform_staff_ids:
        raise Forbidden(
            "permission_denied",
            "This is for the platform's staff, signed in with a second factor.",
            permission=Permission.platform_manage,
        )


def _is_recent(step_up_at: datetime | None, now: datetime, settings: Settings) -> bool:
    return step_up_at is not None and step_up_at > now - timedelta(seconds=settings.step_up_seconds)
