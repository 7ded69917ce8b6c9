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
