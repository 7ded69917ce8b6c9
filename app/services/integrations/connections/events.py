"""Owns the events of connections; no token and no code is in any of them."""

from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission
from app.models.integrations import Integration


@dataclass(frozen=True, kw_only=True)
class IntegrationEvent(Event):
    """What the events of a connection have in common."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.integrations_read
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("integration", "integration_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("integration", "integration_id"),))

    integration_id: UUID
    service: str
    status: str
    error_code: str | None = None

    @classmethod
    def of(cls, row: Integration) -> Self:
        """The event of a connection as it is now."""
        return cls(integration_id=row.id, service=row.service, status=row.status, error_code=row.error_code)


@dataclass(frozen=True, kw_only=True)
class IntegrationConnected(IntegrationEvent):
    """An account was connected, or connected again."""

    type: ClassVar[str] = "integration.connected"
    description: ClassVar[str] = "An account at another service was connected, for the first time or again."


@dataclass(frozen=True, kw_only=True)
class IntegrationDisconnected(IntegrationEvent):
    """A connection was ended; its grant is revoked afterwards."""

    type: ClassVar[str] = "integration.disconnected"
    description: ClassVar[str] = "A connection to another service was ended."
    handlers: ClassVar[tuple[str, ...]] = ("revocations",)


@dataclass(frozen=True, kw_only=True)
class IntegrationNeedsReauth(IntegrationEvent):
    """The service does not know the grant any more, or it cannot be read."""

    type: ClassVar[str] = "integration.needs_reauth"
    description: ClassVar[str] = "A connection has lost its grant; somebody has to connect it again."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)
