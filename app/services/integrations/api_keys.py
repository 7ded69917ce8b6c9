"""API keys as people keep them: listing, making, changing, rotating and revoking."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.changes import told
from app.core.config import get_settings
from app.core.crypto.api_keys import hash_api_key, make_api_key
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, Pager, Sort
from app.core.permissions import Permission
from app.models.integrations import ApiKey
from app.repositories.integrations import ApiKeyRepository
from app.schemas.integrations.api_keys import (
    ApiKeyCreate,
    ApiKeyIssued,
    ApiKeyQuery,
    ApiKeyRead,
    ApiKeySelf,
    ApiKeyUpdate,
    ScopeList,
)
from app.services.billing.entitlements import check_gauge
from app.services.integrations.events import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated
from app.services.integrations.revoking import facts_of
from app.services.integrations.scopes import effective, judge_copy, judge_scopes, rights_or_none, scope_list

MOST_KEYS = 100
"""Live keys of an organisation, whatever its plan; those that overlap with a newer one count too."""

PREFIX_LENGTH = 15
LAST_LENGTH = 4

PAGER = Pager(
    "api_keys",
    Keyset(ApiKey.created_at, ApiKey.id),
    {"-created_at": Sort(ApiKey.created_at, True, has_cursor=True)},
)

COPIED = (
    "name",
    "permissions",
    "rate_limit",
    "allowed_ips",
    "allowed_origins",
    "expires_at",
    "is_active",
)
"""What a rotated key takes over."""

SET = ("name", "permissions", "rate_limit", "allowed_ips", "allowed_origins", "expires_at")
"""What whoever makes a key says of it."""

PERSONAL = frozenset({"name", "allowed_ips"})
"""Fields whose values the audit log keeps sealed."""


class ApiKeyService:
    """What a team does with its keys."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.keys = ApiKeyRepository(session)

    async def list(self, query: ApiKeyQuery) -> Page[ApiKeyRead]:
        """A page of keys, newest first."""
        statement = self.keys.matching(is_active=query.is_active)
        rows = await PAGER.rows(self.session, statement, query, "-created_at")
        rights = await self.keys.rights_of(self._organization, {key.created_by for key in rows.items})
        return Page[ApiKeyRead].model_validate(
            rows.map(lambda key: _read(key, rights_or_none(rights, key.created_by)))
        )

    async def get(self, key_id: UUID) -> ApiKeyRead:
        """One key. 404."""
        key = await self.keys.get(key_id)
        if key is None:
            raise NotFound()
        return await self._shown(key)

    def scopes(self) -> ScopeList:
        """Every scope that a key may have."""
        return scope_list(self.principal)

    async def own(self) -> ApiKeySelf:
        """The key that calls. 403 `api_key_required` for people."""
        if self.principal.key_id is None:
            raise Forbidden("api_key_required", "Send an API key: this says what it may do.")
        key = await self.keys.get(self.principal.key_id)
        if key is None:
            raise NotFound()
        return ApiKeySelf(
            id=key.id,
            organization_id=key.organization_id,
            scopes=sorted(self.principal.permissions),
            rate_limit=key.rate_limit,
            expires_at=key.expires_at,
        )

    async def create(self, body: ApiKeyCreate) -> ApiKeyIssued:
        """Make a key; the answer is the only one that holds it.

        402 `plan_limit_reached`; 409 `too_many_api_keys`; 422 `unknown_scope`, `scope_not_grantable`,
        `expiry_in_past`.
        """
        judge_scopes(self.principal, body.permissions, rights=self.principal.permissions)
        await self._make_room(body.expires_at)
        key, secret = await self._add(body.model_dump())
        await self._tell(
            ApiKeyCreated, key, {name: [None, getattr(key, name)] for name in SET if getattr(key, name)}
        )
        return ApiKeyIssued(**_values(key, self.principal.permissions), key=secret)

    async def update(self, key_id: UUID, body: ApiKeyUpdate) -> ApiKeyRead:
        """Change the fields that were sent; when nothing differs, nothing is written.

        404; 409 `api_key_revoked`, and like `create` for a key that lives again by a later expiry.
        """
        sent = body.changes()
        if "expires_at" in sent:
            # Before the key's own lock, since that is the order of locks.
            await self.keys.lock_organization(self._organization)
        key = await self._locked(key_id)
        if await self._has_ended(key):
            raise Conflict("api_key_revoked", "This key was revoked for good; create another.")
        changed = {name: value for name, value in sent.items() if value != getattr(key, name)}
        if not changed:
            return await self._shown(key)
        if "permissions" in changed:
            rights = await self._rights(key)
            judge_scopes(self.principal, changed["permissions"], rights=rights, before=key.permissions)
        if "expires_at" in changed:
            await self._judge_expiry(changed["expires_at"], was=key.expires_at)
        changes = {name: [getattr(key, name), value] for name, value in changed.items()}
        if "expires_at" in changed:
            changed["notified_days"] = None
        key = await self.keys.change(key_id, changed)
        await self._tell(ApiKeyUpdated, key, changes)
        return await self._shown(key)

    async def rotate(self, key_id: UUID, grace_seconds: int) -> ApiKeyIssued:
        """Put a new key, in the caller's name, in the place of this one, which ends after the grace.

        404; 409 `api_key_revoked`, `already_rotated`, `too_many_api_keys`; 422 `scope_not_grantable` when it
        may do more than the caller, `expiry_in_past` when it has expired.
        """
        await self.keys.lock_organization(self._organization)
        old = await self._locked(key_id)
        if await self.keys.was_rotated(key_id):
            raise Conflict("already_rotated", "A newer key took the place of this one; rotate that.")
        if old.revoked_at is not None:
            raise Conflict("api_key_revoked", "This key was revoked for good; create another.")
        now = await self.session.now()
        _refuse_past(old.expires_at, now)
        judge_copy(self.principal, old.permissions, await self._rights(old))
        if grace_seconds:
            await self._refuse_too_many(now)
        copied = {name: getattr(old, name) for name in COPIED}
        key, secret = await self._add({**copied, "rotated_from": old.id})
        grace_until = now + timedelta(seconds=grace_seconds) if grace_seconds else None
        if grace_until is not None:
            await self.keys.change(old.id, {"grace_until": grace_until})
        else:
            await self._revoke(old, "rotated", now)
        event = ApiKeyRotated(**facts_of(key), rotated_from=old.id, grace_until=grace_until)
        await emit(self.session, event)
        return ApiKeyIssued(**_values(key, self.principal.permissions), key=secret)

    async def revoke(self, key_id: UUID) -> None:
        """End a key for good; one that has ended stays as it is. 404."""
        key = await self._locked(key_id)
        if key.revoked_at is None:
            await self._revoke(key, "manual", await self.session.now())

    @property
    def _organization(self) -> UUID:
        assert self.principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        return self.principal.organization_id

    async def _locked(self, key_id: UUID) -> ApiKey:
        key = await self.keys.get(key_id, lock=True)
        if key is None:
            raise NotFound()
        return key

    async def _has_ended(self, key: ApiKey) -> bool:
        """Whether a key is revoked, or replaced with its grace over, which the nightly job only notes."""
        if key.revoked_at is not None:
            return True
        return key.grace_until is not None and key.grace_until <= await self.session.now()

    async def _make_room(self, expires_at: datetime | None) -> None:
        """Lock the organisation's keys and refuse one more than its plan has room for."""
        await self.keys.lock_organization(self._organization)
        now = await self.session.now()
        _refuse_past(expires_at, now)
        live = await self.keys.count_live(self._organization, now)
        await check_gauge(self.session, self._organization, "api_keys", 1, used=live)
        await self._refuse_too_many(now)

    async def _refuse_too_many(self, now: datetime) -> None:
        if await self.keys.count_live(self._organization, now, is_overlap_counted=True) >= MOST_KEYS:
            raise Conflict(
                "too_many_api_keys", f"There are {MOST_KEYS} keys; revoke one that is not needed any more."
            )

    async def _judge_expiry(self, expires_at: datetime | None, *, was: datetime | None) -> None:
        """Refuse a moment in the past; a key that had expired needs room to live again."""
        now = await self.session.now()
        if was is not None and was <= now:
            await self._make_room(expires_at)
        else:
            _refuse_past(expires_at, now)

    async def _add(self, values: Mapping[str, Any]) -> tuple[ApiKey, str]:
        secret = make_api_key(get_settings())
        key = ApiKey(
            **values,
            id=uuid7(),
            created_by=self.principal.user_id,
            key_hash=hash_api_key(secret),
            key_prefix=secret[:PREFIX_LENGTH],
            last4=secret[-LAST_LENGTH:],
        )
        await self.keys.add(key)
        await self.session.refresh(key)
        return key, secret

    async def _revoke(self, key: ApiKey, reason: str, now: datetime) -> None:
        ended = {
            "revoked_at": now,
            "revoked_by": self.principal.user_id,
            "revoke_reason": reason,
            "is_active": False,
        }
        await self.keys.change(key.id, ended)
        await emit(self.session, ApiKeyRevoked(**facts_of(key), reason=reason))

    async def _tell(
        self, kind: type[ApiKeyCreated | ApiKeyUpdated], key: ApiKey, changes: Mapping[str, Sequence[Any]]
    ) -> None:
        plain = {name: [_plain(value) for value in pair] for name, pair in changes.items()}
        public, private = told(plain, personal=PERSONAL)
        await emit(self.session, kind(**facts_of(key), changes=public), private=private)

    async def _rights(self, key: ApiKey) -> frozenset[Permission]:
        found = await self.keys.rights_of(self._organization, {key.created_by})
        return rights_or_none(found, key.created_by)

    async def _shown(self, key: ApiKey) -> ApiKeyRead:
        return _read(key, await self._rights(key))


def _refuse_past(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        fault = FieldError("/expires_at", "expiry_in_past", "Send a moment that is still to come, or null.")
        raise Invalid("expiry_in_past", "A key cannot end before it begins.", errors=[fault])


def _plain(value: Any) -> Any:
    """A value as the audit log shows it."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _values(key: ApiKey, rights: frozenset[Permission]) -> dict[str, Any]:
    shown = {name: getattr(key, name) for name in ApiKeyRead.model_fields if name != "scopes"}
    shown["last_used_ip"] = str(key.last_used_ip) if key.last_used_ip is not None else None
    return {**shown, "scopes": effective(key.permissions, rights)}


def _read(key: ApiKey, rights: frozenset[Permission]) -> ApiKeyRead:
    return ApiKeyRead(**_values(key, rights))


ApiKeys = Annotated[ApiKeyService, Depends()]
