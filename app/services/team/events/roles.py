"""What is told of custom roles."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class RoleEvent(Event):
    """What every event of a custom role says: the permissions that it gained and lost.

    `changes` is the same as the audit log keeps it, with the permissions before and after.
    """

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    subject: ClassVar[tuple[str, str] | None] = ("role", "role_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("role", "role_id"),), changes="changes")

    role_id: UUID
    key: str
    added: list[str]
    removed: list[str]
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RoleCreated(RoleEvent):
    """A custom role was made."""

    type: ClassVar[str] = "team.role_created"
    description: ClassVar[str] = "A custom role was created."


@dataclass(frozen=True, kw_only=True)
class RoleUpdated(RoleEvent):
    """A custom role was changed."""

    type: ClassVar[str] = "team.role_updated"
    description: ClassVar[str] = "A custom role was changed."


@dataclass(frozen=True, kw_only=True)
class RoleDeleted(RoleEvent):
    """A custom role was deleted."""

    type: ClassVar[str] = "team.role_deleted"
    description: ClassVar[str] = "A custom role was deleted."
