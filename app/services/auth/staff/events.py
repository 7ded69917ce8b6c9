"""Owns the events of accounts that staff closes and opens again."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class UserSuspended(Event):
    """Staff suspended an account, and every session of it ended."""

    type: ClassVar[str] = "user.suspended"
    description: ClassVar[str] = "An account was suspended."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True)
class UserReinstated(Event):
    """Staff opened a suspended account again; private: `reason`."""

    type: ClassVar[str] = "user.reinstated"
    description: ClassVar[str] = "A suspended account was opened again."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"),), subject="user_id", personal=("reason",)
    )

    user_id: UUID
