"""The access check of API keys: from a key to what it may do here and now, with one statement."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request
from sqlalchemy import Row, text
from starlette.datastructures import Headers

from app.core import clock
from app.core.callers import Recognized
from app.core.client_address import address_key, client_address, parse_ip
from app.core.config import Settings, get_settings
from app.core.crypto.api_keys import hash_api_key, is_api_key, looks_like_api_key
from app.core.errors import AppError, BadRequest, Forbidden, NotFound, Unauthenticated
from app.core.key_calls import KeyCalls
from app.core.limits import LimitRule, enforce, enforce_rule
from app.core.permissions import Permission, permissions_of, scopes_of

if TYPE_CHECKING:
    from app.core.database import Database

USE_STEP = timedelta(seconds=60)
"""`last_used_at` of a key is exact to this; writing it at every request would double its cost."""

HOUR_SECONDS = 3600

_KEY = """
    SELECT k.id, k.organization_id, k.created_by,
           ARRAY(SELECT jsonb_array_elements_text(k.permissions)) AS scopes,
           k.rate_limit, k.allowed_ips, k.allowed_origins, k.expires_at, k.is_active, k.revoked_at,
           k.grace_until, k.last_used_at, u.status AS user_status, m.status AS member_status, m.role,
           r.permissions
    FROM api_keys k
    JOIN users u ON u.id = k.created_by
    JOIN organizations o ON o.id = k.organization_id AND o.deleted_at IS NULL
    LEFT JOIN team_members m ON m.organization_id = k.organization_id AND m.user_id = k.created_by
    LEFT JOIN team_roles r ON r.organization_id = m.organization_id AND r.id = m.team_role_id
    """

KEY_SQL = _KEY + "WHERE k.key_hash = $1"

KEYS_SQL = text(
    _KEY + "WHERE (k.organization_id, k.id) IN"  # noqa: S608 - a statement of ours, without any value
    " (SELECT * FROM unnest(CAST(:organization_ids AS uuid[]), CAST(:key_ids AS uuid[])))"
)
"""The same for many keys at once: open streams are judged by it again and again."""

TOUCH_SQL = text(
    """
    UPDATE api_keys SET last_used_at = :now, last_used_ip = CAST(:address AS inet)
    WHERE organization_id = :organization_id AND id IN (
        SELECT id FROM api_keys
        WHERE organization_id = :organization_id AND id = :key_id
              AND (last_used_at IS NULL OR last_used_at < :before)
        FOR NO KEY UPDATE SKIP LOCKED)
    """
)


class KeyRow(NamedTuple):
    """What the statement above answers, column by column."""

    id: UUID
    organization_id: UUID
    created_by: UUID
    scopes: list[str]
    rate_limit: int
    allowed_ips: list[Any]
    allowed_origins: list[str]
    expires_at: datetime | None
    is_active: bool
    revoked_at: datetime | None
    grace_until: datetime | None
    last_used_at: datetime | None
    user_status: str
    member_status: str | None
    role: Any  # A string where there is a membership.
    permissions: list[str] | None


KeyFacts: TypeAlias = "KeyRow | Row[Any]"
"""Columns of that statement by name, wherever they were read."""


class KeyRights(NamedTuple):
    """A key that was let in: which, whose, and what it may do."""

    key_id: UUID
    organization_id: UUID
    permissions: frozenset[Permission]


def key_of(headers: Headers) -> str | None:
    """The API key that a request carries, good or not; None without one.

    400 `ambiguous_credentials` when there is another credential beside it.
    """
    sent = headers.getlist("x-api-key")
    if sent:
        if len(sent) > 1 or "authorization" in headers:
            raise BadRequest(
                "ambiguous_credentials", "Send one credential: either `Authorization` or `X-API-Key`."
            )
        return sent[0].strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and looks_like_api_key(token.strip()):
        return token.strip()
    return None


async def admit_key(request: Request, key: str, *, is_open: bool, needed: Permission | None) -> KeyRights:
    """Judge a key for a route: whether the route is open to keys, and what it needs.

    The order of judgement is that of the integrations page, section 3; the first that applies answers.
    """
    settings = get_settings()
    now = clock.now()
    database: Database = request.app.state.database
    address = client_address(request.scope, settings.trusted_proxies)
    if not is_api_key(key, settings):
        await _refuse(request, address, _refused("api_key_invalid"))
    found = await database.reads.rows(KEY_SQL, hash_api_key(key))
    row = KeyRow._make(found[0]) if found else None
    ended = "api_key_invalid" if row is None else ended_key(row, now)
    if row is None or ended is not None:
        await _refuse(request, address, _refused(ended or "api_key_invalid"))
    request.state.recognized = Recognized("api_key", row.organization_id, key_id=row.id)
    await _judge_surroundings(request, row, address, settings)
    await enforce_rule(request, "api_key", key=str(row.id), rule=LimitRule(row.rate_limit, HOUR_SECONDS))
    await enforce(request, "api_org", key=str(row.organization_id))
    permissions = _judge_scope(row, is_open=is_open, needed=needed)
    key_calls: KeyCalls = request.app.state.key_calls
    key_calls.count(row.organization_id)
    if row.last_used_at is None or row.last_used_at < now - USE_STEP:
        await _note_use(database, row, address, now)
    return KeyRights(row.id, row.organization_id, permissions)


def ended_key(row: KeyFacts, now: datetime) -> str | None:
    """The code of point 2 that this key meets wherever it goes, or None while it lives."""
    if (
        not row.is_active
        or row.revoked_at is not None
        or (row.grace_until is not None and row.grace_until <= now)
        or row.user_status != "active"
        or row.member_status != "active"
    ):
        return "api_key_invalid"
    return "api_key_expired" if row.expires_at is not None and row.expires_at <= now else None


def key_ends_at(row: KeyFacts) -> datetime | None:
    """When this key ends as things stand: it expires, or its overlap with a newer one is over."""
    return min((end for end in (row.expires_at, row.grace_until) if end is not None), default=None)


def key_permissions(row: KeyFacts) -> frozenset[Permission]:
    """What a live key may do: its scopes, cut by what the person who made it may do now."""
    return scopes_of(row.scopes) & permissions_of(row.role, row.permissions)


def is_address_allowed(row: KeyFacts, address: str) -> bool:
    """Whether the key may be used from here; without a list from everywhere."""
    if not row.allowed_ips:
        return True
    parsed = parse_ip(address)
    return parsed is not None and any(parsed in network for network in _networks(row.allowed_ips))


def ended_key_error(code: str) -> Unauthenticated:
    """401 for a key that `ended_key` stopped."""
    return _refused(code)


def _networks(found: Sequence[Any]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(network) for network in found]


def _refused(code: str) -> Unauthenticated:
    # One and the same body for everything that is no good key, so that nobody learns why.
    detail = (
        "This API key has expired; rotate it or create another."
        if code == "api_key_expired"
        else "This is not a good API key of this service."
    )
    return Unauthenticated(code, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


async def _refuse(request: Request, address: str, error: AppError) -> NoReturn:
    """Count the refusal by address, which may turn it into 429, and raise it."""
    await enforce(request, "api_bad", key=address_key(address), by_address=True)
    raise error


async def _judge_surroundings(request: Request, row: KeyRow, address: str, settings: Settings) -> None:
    """Point 3: from which address, which page and for which organisation the key is used."""
    if not is_address_allowed(row, address):
        detail = "This API key may not be used from your address."
        await _refuse(request, address, Forbidden("ip_not_allowed", detail))
    origin = request.headers.get("origin")
    if origin is not None and origin != _own_origin(settings.api_url) and origin not in row.allowed_origins:
        detail = "This API key may not be used by pages of this origin."
        await _refuse(request, address, Forbidden("origin_not_allowed", detail))
    asked = request.headers.get("x-organization-id")
    if asked is not None and not _names(asked, row.organization_id):
        raise NotFound(detail="There is no such organisation for you.")


@lru_cache(maxsize=4)
def _own_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _names(asked: str, organization_id: UUID) -> bool:
    try:
        return UUID(asked) == organization_id
    except ValueError:
        return False


def _judge_scope(row: KeyRow, *, is_open: bool, needed: Permission | None) -> frozenset[Permission]:
    """Point 4 without its limits: whether the route is for keys, the scope, the creator's present role."""
    if not is_open:
        raise Forbidden(
            "user_session_required", "API keys may not do this; sign in as a person and repeat the request."
        )
    if needed is not None and needed not in scopes_of(row.scopes):
        raise Forbidden(
            "insufficient_scope",
            f"This API key lacks the scope `{needed}`; use one that has it.",
            scope=needed.value,
        )
    permissions = key_permissions(row)
    if needed is not None and needed not in permissions:
        raise Forbidden(
            "permission_denied",
            f"The person who made this API key lacks the permission `{needed}` by now; use another key.",
            permission=needed.value,
        )
    return permissions


async def _note_use(database: "Database", row: KeyRow, address: str, now: datetime) -> None:
    """Write when and from where the key was used, unless a request at the same time does so."""
    parsed = parse_ip(address)
    values = {
        "now": now,
        "before": now - USE_STEP,
        "organization_id": row.organization_id,
        "key_id": row.id,
        "address": str(parsed) if parsed is not None else None,
    }
    async with database.transaction() as session:
        await session.execute(TOUCH_SQL, values)
