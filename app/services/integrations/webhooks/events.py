"""Owns the events of outgoing webhooks."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointEvent(Event):
    """What the events of an endpoint have in common; its address and its secrets are in none of them."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.webhooks_manage
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("webhook_endpoint", "webhook_endpoint_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("webhook_endpoint", "webhook_endpoint_id"),))

    webhook_endpoint_id: UUID
    url_host: str
    status: str
    disabled_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointCreated(WebhookEndpointEvent):
    """An endpoint was made."""

    type: ClassVar[str] = "webhook_endpoint.created"
    description: ClassVar[str] = "A webhook endpoint was created."


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointUpdated(WebhookEndpointEvent):
    """Its address, its events, its description or its secret was changed."""

    type: ClassVar[str] = "webhook_endpoint.updated"
    description: ClassVar[str] = "A webhook endpoint was changed; `fields` names what."

    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointSecretRevealed(WebhookEndpointEvent):
    """Somebody looked at the secret; kept for the audit log."""

    type: ClassVar[str] = "webhook_endpoint.secret_revealed"
    description: ClassVar[str] = "Somebody looked at the secret of a webhook endpoint."
    webhook: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointDeleted(WebhookEndpointEvent):
    """An endpoint was deleted, with its history."""

    type: ClassVar[str] = "webhook_endpoint.deleted"
    description: ClassVar[str] = "A webhook endpoint was deleted."


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointPaused(WebhookEndpointEvent):
    """Somebody paused an endpoint; its deliveries are held."""

    type: ClassVar[str] = "webhook_endpoint.paused"
    description: ClassVar[str] = "A webhook endpoint was paused; its deliveries are held."


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointEnabled(WebhookEndpointEvent):
    """Somebody let an endpoint go on; what was held is sent."""

    type: ClassVar[str] = "webhook_endpoint.enabled"
    description: ClassVar[str] = "A webhook endpoint was enabled; what was held is sent now."
    handlers: ClassVar[tuple[str, ...]] = ("webhook_drain",)

    held_count: int


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointFailing(WebhookEndpointEvent):
    """An endpoint has had no success for an hour, a day or three days."""

    type: ClassVar[str] = "webhook_endpoint.failing"
    description: ClassVar[str] = "A webhook endpoint has been failing for an hour, a day or three days."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    failing_since: datetime
    held_count: int


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointDisabled(WebhookEndpointEvent):
    """An endpoint is not sent to any more: it failed for five days, or it said that it is gone."""

    type: ClassVar[str] = "webhook_endpoint.disabled"
    description: ClassVar[str] = "A webhook endpoint was disabled, because it failed for days or is gone."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    failing_since: datetime | None
    held_count: int


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointRecovered(WebhookEndpointEvent):
    """An endpoint that was left alone answers again; what was held is sent."""

    type: ClassVar[str] = "webhook_endpoint.recovered"
    description: ClassVar[str] = "A webhook endpoint answers again; what was held is sent now."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)

    held_count: int


@dataclass(frozen=True, kw_only=True)
class WebhookDeliveryExhausted(Event):
    """A delivery failed ten times and is not tried again by itself."""

    type: ClassVar[str] = "webhook_delivery.exhausted"
    description: ClassVar[str] = "A webhook delivery failed ten times and was given up."
    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.webhooks_manage
    webhook: ClassVar[bool] = True
    subject: ClassVar[tuple[str, str] | None] = ("webhook_delivery", "delivery_id")
    audit: ClassVar[AuditSpec | str] = "Deliveries have a history of their own."

    delivery_id: UUID
    webhook_endpoint_id: UUID
    event_id: UUID
    event_type: str
    last_error_code: str | None


@dataclass(frozen=True, kw_only=True)
class WebhookDeliveryRetryRequested(Event):
    """Somebody asked to send a delivery again."""

    type: ClassVar[str] = "webhook_delivery.retry_requested"
    description: ClassVar[str] = "Somebody asked to send a webhook delivery again."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("webhook_retry",)
    subject: ClassVar[tuple[str, str] | None] = ("webhook_delivery", "delivery_id")
    audit: ClassVar[AuditSpec | str] = "The attempt is kept with its trigger, in the history of deliveries."

    delivery_id: UUID
