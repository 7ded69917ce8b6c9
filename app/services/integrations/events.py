"""Owns the events of API keys."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from app.core.changes import VALUES
from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission

CHANGED = AuditSpec(targets=(("api_key", "api_key_id"),), changes="changes", personal=(VALUES,))
"""Keys are named, and bound to addresses, by people: those values are kept sealed."""


@dataclass(frozen=True, kw_only=True)
class ApiKeyEvent(Event):
    """What the events of a key have in common; the key itself is in none of them."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.api_keys_manage
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("api_key", "api_key_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("api_key", "api_key_id"),))

    api_key_id: UUID
    name: str
    key_prefix: str
    last4: str
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ApiKeyCreated(ApiKeyEvent):
    """A key was made."""

    type: ClassVar[str] = "api_key.created"
    description: ClassVar[str] = "An API key was created."
    audit: ClassVar[AuditSpec | str] = CHANGED

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ApiKeyUpdated(ApiKeyEvent):
    """What a key may do, or from where, was changed."""

    type: ClassVar[str] = "api_key.updated"
    description: ClassVar[str] = "An API key was changed."
    audit: ClassVar[AuditSpec | str] = CHANGED

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ApiKeyRotated(ApiKeyEvent):
    """A new key took the place of an older one, which ends now or at `grace_until`."""

    type: ClassVar[str] = "api_key.rotated"
    description: ClassVar[str] = "An API key was replaced by a new one."
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("api_key", "api_key_id"), ("api_key", "rotated_from"))
    )

    rotated_from: UUID
    grace_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class ApiKeyRevoked(ApiKeyEvent):
    """A key was ended for good."""

    type: ClassVar[str] = "api_key.revoked"
    description: ClassVar[str] = "An API key was revoked."

    reason: str


@dataclass(frozen=True, kw_only=True)
class ApiKeyExpiring(ApiKeyEvent):
    """A key expires in 14, 7 or 1 days."""

    type: ClassVar[str] = "api_key.expiring"
    description: ClassVar[str] = "An API key expires soon."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    days: int
