"""What is told of an organisation itself."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.changes import VALUES
from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class OrganizationEvent(Event):
    """What every event of an organisation says."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.organization_read
    subject: ClassVar[tuple[str, str] | None] = ("organization", "organization_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("organization", "organization_id"),))

    organization_id: UUID


@dataclass(frozen=True, kw_only=True)
class OrganizationCreated(OrganizationEvent):
    """A team organisation was made."""

    type: ClassVar[str] = "organization.created"
    description: ClassVar[str] = "An organisation was created."


@dataclass(frozen=True, kw_only=True)
class OrganizationUpdated(OrganizationEvent):
    """The name or the slug of an organisation was changed."""

    type: ClassVar[str] = "organization.updated"
    description: ClassVar[str] = "The name or the slug of an organisation was changed."
    webhook: ClassVar[bool] = True
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("organization", "organization_id"),), changes="changes", personal=(VALUES,)
    )

    fields: list[str]
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OrganizationDeleted(OrganizationEvent):
    """An organisation was marked as deleted; it can be restored until it is purged."""

    type: ClassVar[str] = "organization.deleted"
    description: ClassVar[str] = "An organisation was deleted; its owner can restore it for some time."
    webhook: ClassVar[bool] = True
    handlers: ClassVar[tuple[str, ...]] = ("mail",)


@dataclass(frozen=True, kw_only=True)
class OrganizationRestored(OrganizationEvent):
    """A deleted organisation came back."""

    type: ClassVar[str] = "organization.restored"
    description: ClassVar[str] = "A deleted organisation was restored."


@dataclass(frozen=True, kw_only=True)
class OrganizationPurged(OrganizationEvent):
    """The rows of a deleted organisation are gone."""

    type: ClassVar[str] = "organization.purged"
    description: ClassVar[str] = "The data of a deleted organisation was removed for good."
    audience: ClassVar[Audience] = "internal"
    read_permission: ClassVar[Permission | None] = None


@dataclass(frozen=True, kw_only=True)
class OrganizationSecurityUpdated(OrganizationEvent):
    """What an organisation demands of its members' sessions was changed."""

    type: ClassVar[str] = "organization.security_updated"
    description: ClassVar[str] = "What an organisation demands of the sessions of its members was changed."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("organization", "organization_id"),), changes="changes"
    )

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LimitReached(Event):
    """Something could not be added because the plan has no room for it."""

    type: ClassVar[str] = "team.limit_reached"
    description: ClassVar[str] = "Something could not be added, because the plan has no room for it."
    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.members_read
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    audit: ClassVar[AuditSpec | str] = AuditSpec()

    name: str
    limit: int
    used: int
