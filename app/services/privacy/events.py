"""Owns the events of privacy: what people agreed to and withdrew."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event

_SPEC = AuditSpec(
    targets=(("consent", "consent_id"), ("purpose", "purpose")), subject="user_id", actor="user_id"
)


@dataclass(frozen=True, kw_only=True)
class ConsentGiven(Event):
    """A person agreed to a purpose."""

    type: ClassVar[str] = "privacy.consent_given"
    description: ClassVar[str] = "A person agreed to a purpose."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("consent", "consent_id")
    audit: ClassVar[AuditSpec | str] = _SPEC

    user_id: UUID
    consent_id: UUID
    purpose: str
    policy_version: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ConsentWithdrawn(Event):
    """A person refused a purpose, or took their consent back."""

    type: ClassVar[str] = "privacy.consent_withdrawn"
    description: ClassVar[str] = "A person refused a purpose, or took their consent back."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("consent", "consent_id")
    audit: ClassVar[AuditSpec | str] = _SPEC

    user_id: UUID
    consent_id: UUID
    purpose: str
    policy_version: str
    source: str
