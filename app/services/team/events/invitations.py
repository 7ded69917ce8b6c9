"""What is told of invitations. An invited address is only in the private part, for the mail and the audit."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission

INVITATION = (("invitation", "invitation_id"),)


@dataclass(frozen=True, kw_only=True)
class InvitationEvent(Event):
    """What every event of an invitation says; private: `organization_id`, and `email`."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    subject: ClassVar[tuple[str, str] | None] = ("invitation", "invitation_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=INVITATION, subject="invitation_id", personal=("email",)
    )

    invitation_id: UUID


@dataclass(frozen=True, kw_only=True)
class InvitationSent(InvitationEvent):
    """What the events of a mailed invitation say; private: `token_id`, too."""

    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    role: str


@dataclass(frozen=True, kw_only=True)
class MemberInvited(InvitationSent):
    """Somebody was invited by mail."""

    type: ClassVar[str] = "team.member_invited"
    description: ClassVar[str] = "Somebody was invited into the organisation."
    webhook: ClassVar[bool] = True
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=INVITATION, subject="invitation_id", personal=("email",), changes="changes"
    )

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class InvitationResent(InvitationSent):
    """An invitation was mailed again, with a new link."""

    type: ClassVar[str] = "team.invitation_resent"
    description: ClassVar[str] = "An invitation was mailed again; the older link does not work any more."


@dataclass(frozen=True, kw_only=True)
class InvitationCancelled(InvitationEvent):
    """An invitation was taken back."""

    type: ClassVar[str] = "team.invitation_cancelled"
    description: ClassVar[str] = "An invitation was taken back."


@dataclass(frozen=True, kw_only=True)
class InvitationDeclined(InvitationEvent):
    """The invited person does not want to come."""

    type: ClassVar[str] = "team.invitation_declined"
    description: ClassVar[str] = "An invitation was declined."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class InvitationExpired(InvitationEvent):
    """Nobody answered an invitation in time."""

    type: ClassVar[str] = "team.invitation_expired"
    description: ClassVar[str] = "An invitation was not answered in time."
