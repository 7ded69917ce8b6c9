"""Owns the events of personal settings: what people changed about themselves."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class ProfileUpdated(Event):
    """A person changed their profile; only the names of the fields are told."""

    type: ClassVar[str] = "user.profile_updated"
    description: ClassVar[str] = "A person changed their profile."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("member_profiles",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class MemberProfileUpdated(Event):
    """The same, told to an organisation in which the person works."""

    type: ClassVar[str] = "user.updated"
    description: ClassVar[str] = "A member changed their profile."
    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = "The person's own entry says it."

    user_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class AvatarUpdated(Event):
    """A person has a new portrait."""

    type: ClassVar[str] = "user.avatar_updated"
    description: ClassVar[str] = "A person has a new portrait."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    avatar_id: UUID


@dataclass(frozen=True, kw_only=True)
class AvatarRemoved(Event):
    """A person took their portrait away."""

    type: ClassVar[str] = "user.avatar_removed"
    description: ClassVar[str] = "A person removed their portrait."
    audience: ClassVar[Audience] = "personal"
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    avatar_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChangeRequested(Event):
    """A person wants another address; private: the device. Whether it is free is not told to anybody."""

    type: ClassVar[str] = "user.email_change_requested"
    description: ClassVar[str] = "A person asked to change their address."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("email_change",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    change_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChangePrepared(Event):
    """The mails of a change of address are due; private: the device, and `token_id`.

    There is no token when another account has the address.
    """

    type: ClassVar[str] = "user.email_change_prepared"
    description: ClassVar[str] = "The proof of a new address was prepared."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = "The person's request is kept, and must not say whose the address is."

    user_id: UUID
    change_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChanged(Event):
    """A person proved their new address, and it counts; private: the device, and the undo's `token_id`."""

    type: ClassVar[str] = "user.email_changed"
    description: ClassVar[str] = "A person changed their address."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail_address", "mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"),), subject="user_id", actor="user_id"
    )

    user_id: UUID
    change_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChangeUndone(Event):
    """The former address of a person counts again; private: the device, and the address that was left."""

    type: ClassVar[str] = "user.email_change_undone"
    description: ClassVar[str] = "A change of address was undone."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail_address", "mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("user", "user_id"),), subject="user_id", actor="user_id"
    )

    user_id: UUID
    change_id: UUID


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(Event):
    """A signed-in person changed their password; private: the device."""

    type: ClassVar[str] = "user.password_changed"
    description: ClassVar[str] = "A person changed their password."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    sessions_revoked: int


@dataclass(frozen=True, kw_only=True)
class PasswordSet(Event):
    """A signed-in person gave their account its first password; private: the device."""

    type: ClassVar[str] = "user.password_set"
    description: ClassVar[str] = "A person set their first password."
    audience: ClassVar[Audience] = "personal"
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("user", "user_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("user", "user_id"),), subject="user_id")

    user_id: UUID
    sessions_revoked: int
