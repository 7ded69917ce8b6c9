"""What is told of the members of an organisation."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission

MEMBER = (("member", "member_id"),)


@dataclass(frozen=True, kw_only=True)
class MemberEvent(Event):
    """What every event of a member says."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("member", "member_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=MEMBER, subject="user_id")

    member_id: UUID
    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class MemberJoined(MemberEvent):
    """Somebody became a member."""

    type: ClassVar[str] = "team.member_joined"
    description: ClassVar[str] = "Somebody became a member of the organisation."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    role: str
    source: str


@dataclass(frozen=True, kw_only=True)
class MemberChange(MemberEvent):
    """A change from one word to another; `changes` is the same as the audit log keeps it."""

    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=MEMBER, subject="user_id", changes="changes")

    from_: Annotated[str, Field(alias="from")]
    to: str
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MemberRoleChanged(MemberChange):
    """A member has another role."""

    type: ClassVar[str] = "team.member_role_changed"
    description: ClassVar[str] = "A member was given another role."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class MemberSuspended(MemberChange):
    """A member may not enter any more."""

    type: ClassVar[str] = "team.member_suspended"
    description: ClassVar[str] = "A membership was suspended."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class MemberActivated(MemberChange):
    """A suspended member may enter again."""

    type: ClassVar[str] = "team.member_activated"
    description: ClassVar[str] = "A suspended membership was activated again."


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(MemberEvent):
    """A member was removed; `effects` counts what went with the membership."""

    type: ClassVar[str] = "team.member_removed"
    description: ClassVar[str] = "A member was removed from the organisation."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    effects: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MemberLeft(MemberEvent):
    """A member left; `effects` counts what went with the membership."""

    type: ClassVar[str] = "team.member_left"
    description: ClassVar[str] = "A member left the organisation."

    effects: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SessionsEnded(MemberEvent):
    """A member's sessions were ended; every other one must be confirmed before it enters again."""

    type: ClassVar[str] = "team.sessions_ended"
    description: ClassVar[str] = "The sessions of a member were ended."
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    sessions: int
