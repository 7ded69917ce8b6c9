"""Owns the events of the second factor: what was tried, what was used, and a step-up by mail."""

from dataclasses import dataclass
from typing import ClassVar, Literal
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class MfaFailed(Event):
    """A wrong second factor; the challenge is null when a signed-in person was asked."""

    type: ClassVar[str] = "auth.mfa_failed"
    description: ClassVar[str] = "A second factor was wrong."
    audience: ClassVar[Audience] = "personal"
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "failure"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    challenge_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class BackupCodeUsed(Event):
    """A backup code stood in for the authenticator; private: device, place, time."""

    type: ClassVar[str] = "auth.backup_code_used"
    description: ClassVar[str] = "A backup code was used."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    remaining: int


@dataclass(frozen=True, kw_only=True)
class StepUpRequested(Event):
    """A signed-in person asked for a code by mail; private: `token_id`."""

    type: ClassVar[str] = "auth.step_up_requested"
    description: ClassVar[str] = "A code to confirm one's identity was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = "What follows from the code is recorded."

    user_id: UUID
