"""Owns the events of a person's own second factor: what was started, turned on or off, or renewed."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event

OF_FACTOR = AuditSpec(targets=(("mfa_factor", "factor_id"),), subject="user_id")


@dataclass(frozen=True, kw_only=True)
class TwoFactorStarted(Event):
    """A person was shown the secret of an authenticator, which does not count yet."""

    type: ClassVar[str] = "user.two_factor_started"
    description: ClassVar[str] = "A person began to set up a second factor."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("mfa_factor", "factor_id")
    audit: ClassVar[AuditSpec | str] = "Nothing has changed before the first code, which is recorded."

    user_id: UUID
    factor_id: UUID
    sessions_revoked: int = 0


@dataclass(frozen=True, kw_only=True)
class TwoFactorEnabled(Event):
    """A person's second factor is on; private: device, place, time."""

    type: ClassVar[str] = "user.two_factor_enabled"
    description: ClassVar[str] = "A person turned the second factor on."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("mfa_factor", "factor_id")
    audit: ClassVar[AuditSpec | str] = OF_FACTOR

    user_id: UUID
    factor_id: UUID
    sessions_revoked: int


@dataclass(frozen=True, kw_only=True)
class TwoFactorDisabled(Event):
    """A person's second factor is off; private: device, place, time."""

    type: ClassVar[str] = "user.two_factor_disabled"
    description: ClassVar[str] = "A person turned the second factor off."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("mfa_factor", "factor_id")
    audit: ClassVar[AuditSpec | str] = OF_FACTOR

    user_id: UUID
    factor_id: UUID
    sessions_revoked: int = 0


@dataclass(frozen=True, kw_only=True)
class BackupCodesRegenerated(Event):
    """A person has new backup codes, and the old ones are void; private: device, place, time."""

    type: ClassVar[str] = "user.backup_codes_regenerated"
    description: ClassVar[str] = "A person made new backup codes."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
