"""What is told of the transfer of ownership."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class OwnershipEvent(Event):
    """What every event of a transfer says; private: `organization_id`."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    subject: ClassVar[tuple[str, str] | None] = ("transfer", "transfer_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("transfer", "transfer_id"), ("user", "from_user_id")), subject="to_user_id"
    )

    transfer_id: UUID
    from_user_id: UUID
    to_user_id: UUID


@dataclass(frozen=True, kw_only=True)
class OwnershipRequested(OwnershipEvent):
    """The owner offers the organisation to another member."""

    type: ClassVar[str] = "team.ownership_requested"
    description: ClassVar[str] = "The owner offered the organisation to another member."


@dataclass(frozen=True, kw_only=True)
class OwnershipCancelled(OwnershipEvent):
    """The offer was taken back."""

    type: ClassVar[str] = "team.ownership_cancelled"
    description: ClassVar[str] = "The offer of ownership was taken back."


@dataclass(frozen=True, kw_only=True)
class OwnershipDeclined(OwnershipEvent):
    """The offer was declined."""

    type: ClassVar[str] = "team.ownership_declined"
    description: ClassVar[str] = "The offer of ownership was declined."


@dataclass(frozen=True, kw_only=True)
class OwnershipTransferred(OwnershipEvent):
    """The organisation has a new owner; the former one is an admin."""

    type: ClassVar[str] = "team.ownership_transferred"
    description: ClassVar[str] = "The organisation has a new owner."
    webhook: ClassVar[bool] = True
