"""Owns the events of identities: a provider's account became a way into one of ours, or ceased to be."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class IdentityLinked(Event):
    """An account at a provider opens this one from now on; private: the device, and `is_mailed`."""

    type: ClassVar[str] = "user.identity_linked"
    description: ClassVar[str] = "An account at a provider was linked."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    provider: str


@dataclass(frozen=True, kw_only=True)
class IdentityUnlinked(Event):
    """An account at a provider does not open this one any more; private: the device."""

    type: ClassVar[str] = "user.identity_unlinked"
    description: ClassVar[str] = "An account at a provider was unlinked."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    provider: str
