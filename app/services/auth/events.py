"""Owns the events of authentication: what happened to an account or a session, and who hears of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event


@dataclass(frozen=True, kw_only=True)
class SignedUp(Event):
    """Somebody made an account; its address is not confirmed yet."""

    type: ClassVar[str] = "auth.signed_up"
    description: ClassVar[str] = "An account was made."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"), ("method", "method")), subject="user_id", actor="user_id"
    )

    user_id: UUID
    method: str


@dataclass(frozen=True, kw_only=True)
class SignupRepeated(Event):
    """Somebody signed up with an address that has an account; private: `is_mailed`."""

    type: ClassVar[str] = "auth.signup_repeated"
    description: ClassVar[str] = "Somebody signed up with the address of an existing account."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class ConfirmationRequested(Event):
    """An address is to be confirmed; private: `token_id`."""

    type: ClassVar[str] = "auth.confirmation_requested"
    description: ClassVar[str] = "The confirmation of an address was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = "The sign-up and the confirmation are kept themselves."

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class ConfirmationResendRequested(Event):
    """Somebody asked for another confirmation of an address; private: `canonical`, `is_allowed`.

    It is emitted for every address, and its payload is empty, so that neither the answer's time nor the log
    tells whether anybody has the address.
    """

    type: ClassVar[str] = "auth.confirmation_resend_requested"
    description: ClassVar[str] = "Another mail to confirm an address was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("confirmation",)
    audit: ClassVar[AuditSpec | str] = "It is emitted for every address, and says nothing of anybody."


@dataclass(frozen=True, kw_only=True)
class EmailConfirmed(Event):
    """The address of an account was proved for the first time."""

    type: ClassVar[str] = "user.email_confirmed"
    description: ClassVar[str] = "The address of an account was confirmed."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail_address", "mail")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"),), subject="user_id", actor="user_id"
    )

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class SignedIn(Event):
    """A session was opened; private: `is_first`, whether the account never had one before."""

    type: ClassVar[str] = "auth.signed_in"
    description: ClassVar[str] = "A session was opened."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("session", "session_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("session", "session_id"), ("method", "method")), subject="user_id", actor="user_id"
    )

    user_id: UUID
    session_id: UUID
    method: str
    aal: int
    is_new_device: bool


@dataclass(frozen=True, kw_only=True)
class SignInFailed(Event):
    """A sign-in was refused; the person is null when no account has the address."""

    type: ClassVar[str] = "auth.sign_in_failed"
    description: ClassVar[str] = "A sign-in was refused."
    audience: ClassVar[Audience] = "internal"
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "failure"
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"), ("reason", "reason")), subject="user_id"
    )

    user_id: UUID | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Locked(Event):
    """Too many failures in a row locked the password sign-in of an address; null: for good."""

    type: ClassVar[str] = "auth.locked"
    description: ClassVar[str] = "Too many failures locked the sign-in by password."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "denied"
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID | None
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class SteppedUp(Event):
    """A signed-in person proved once more who they are."""

    type: ClassVar[str] = "auth.stepped_up"
    description: ClassVar[str] = "A signed-in person confirmed their identity."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("session", "session_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("session", "session_id"), ("method", "method")), subject="user_id"
    )

    user_id: UUID
    session_id: UUID
    method: str


@dataclass(frozen=True, kw_only=True)
class SignedOut(Event):
    """A person ended this session, all others, or all."""

    type: ClassVar[str] = "auth.signed_out"
    description: ClassVar[str] = "A person signed out."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"), ("scope", "scope")), subject="user_id"
    )

    user_id: UUID
    scope: Literal["local", "others", "global"]


@dataclass(frozen=True, kw_only=True)
class SessionRevoked(Event):
    """A session was ended before its time."""

    type: ClassVar[str] = "session.revoked"
    description: ClassVar[str] = "A session was ended."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("session", "session_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("session", "session_id"), ("reason", "reason")), subject="user_id"
    )

    user_id: UUID
    session_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True)
class RefreshReplayed(Event):
    """The same device asked again for an answer it had lost, and got the same successor."""

    type: ClassVar[str] = "session.refresh_replayed"
    description: ClassVar[str] = "A lost answer to a refresh was given again."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("session", "session_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("session", "session_id"),), subject="user_id")

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, kw_only=True)
class RefreshReused(Event):
    """A refresh token came back after it had been replaced: it may be stolen, so the session was ended."""

    type: ClassVar[str] = "session.refresh_reused"
    description: ClassVar[str] = "A replaced refresh token came back, and the session was ended."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "denied"
    subject: ClassVar[tuple[str, str] | None] = ("session", "session_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("session", "session_id"),), subject="user_id")

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, kw_only=True)
class PasswordResetAsked(Event):
    """Somebody forgot the password of an address; private: `canonical`, `is_allowed` and the device.

    It is emitted for every address, and its payload is empty, so that neither the answer's time nor the log
    tells whether anybody has the address.
    """

    type: ClassVar[str] = "auth.password_reset_asked"
    description: ClassVar[str] = "Somebody asked for a new password of an address."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("password_reset",)
    audit: ClassVar[AuditSpec | str] = "It says nothing of anybody; the request that follows from it does."


@dataclass(frozen=True, kw_only=True)
class PasswordResetRequested(Event):
    """An account gets a link to a new password; private: the device that asked, and `token_id`."""

    type: ClassVar[str] = "auth.password_reset_requested"
    description: ClassVar[str] = "A reset of the password was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class PasswordReset(Event):
    """A person set a new password by a mailed link, and every session ended; private: the device."""

    type: ClassVar[str] = "user.password_reset"
    description: ClassVar[str] = "A person reset their password."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"),), subject="user_id", actor="user_id"
    )

    user_id: UUID
    sessions_revoked: int


@dataclass(frozen=True, kw_only=True)
class MagicLinkAsked(Event):
    """Somebody wants to sign in by mail; private: everything, for the same reasons as with a reset."""

    type: ClassVar[str] = "auth.magic_link_asked"
    description: ClassVar[str] = "Somebody asked for a link to sign in with an address."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("magic_link",)
    audit: ClassVar[AuditSpec | str] = "It says nothing of anybody; the request that follows from it does."


@dataclass(frozen=True, kw_only=True)
class MagicLinkRequested(Event):
    """An address gets a link to sign in; the person is null while nobody has it.

    Private: the device, and `token_id`.
    """

    type: ClassVar[str] = "auth.magic_link_requested"
    description: ClassVar[str] = "A link to sign in was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID | None
