"""What callers send and get about outgoing webhooks."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool

from app.core.paging import PageQuery
from app.schemas.base import Input, Line, Output, Patch, StrictInt, Text, Timestamp, absent, once

EndpointStatus = Literal["active", "paused", "disabled"]
DeliveryStatus = Literal["pending", "sending", "retrying", "held", "succeeded", "exhausted", "cancelled"]

LONGEST_GRACE = 604_800
"""Seconds: a week."""


Url = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=2048,
        description="Where events are posted to: https, and a host that the public net knows.",
        examples=["https://hooks.example.com/luneo"],
    ),
]
EventPatterns = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=64)]],
    Field(
        min_length=1,
        max_length=100,
        description="Types of events, `order.*` for all of a kind, or `*`; `/event-types` lists them.",
        examples=[["order.paid", "product.*"]],
    ),
    AfterValidator(once),
]
Description = Annotated[Line, Field(max_length=200, description="What it is for.", examples=["Warehouse"])]


class WebhookQuery(PageQuery):
    """Filters of the list of endpoints."""

    status: EndpointStatus | None = Field(None, description="Whether it is sent to.")


class WebhookCreate(Input):
    """A new endpoint: its address, and what it is told."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://hooks.example.com/luneo", "events": ["order.paid", "product.*"]}]
        }
    )

    url: Url
    events: EventPatterns
    description: Description | None = None
    is_active: StrictBool = Field(True, description="False: paused from the beginning.")


class WebhookUpdate(Patch):
    """The fields to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": ["order.*"]}]})

    url: Url = Field(default_factory=absent)
    events: EventPatterns = Field(default_factory=absent)
    description: Description | None = None
    is_active: StrictBool = Field(
        default_factory=absent, description="As `enable` and `pause`; false leaves a disabled one disabled."
    )
    version: Annotated[StrictInt, Field(ge=1, le=2_147_483_647)] | None = Field(
        None, description="The version that you read; without it, or `If-Match`, any."
    )


class WebhookRead(Output):
    """An endpoint, without its secret."""

    id: UUID
    url: str
    description: str | None
    events: list[str]
    status: EndpointStatus
    is_active: bool = Field(description="Whether `status` is `active`.")
    disabled_reason: Literal["failing", "gone", "plan_limit"] | None
    circuit: Literal["closed", "open", "half_open"] = Field(
        description="`closed`: sent to as it should be; else it failed and is left alone for a while."
    )
    failure_count: int = Field(description="Failed attempts in a row.")
    failing_since: Timestamp | None = Field(description="The first failure after the last success.")
    held_count: int = Field(description="Deliveries that wait until it is sent to again.")
    last_success_at: Timestamp | None
    last_triggered_at: Timestamp | None
    last_response_status: int | None
    version: int
    created_by: UUID | None
    created_at: Timestamp
    updated_at: Timestamp


class WebhookIssued(WebhookRead):
    """A new endpoint, with its secret."""

    secret: str | None = Field(
        description="What its deliveries are signed with. Null when the request is repeated.",
        examples=["whsec_…"],
    )


class WebhookSecretRotate(Input):
    """For how long the older secret signs beside the new one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 86400}]})

    grace_seconds: Annotated[StrictInt, Field(ge=0, le=LONGEST_GRACE)] = Field(
        86_400, description="Seconds until the older secret ends; 0: at once."
    )


class WebhookSecretRotated(Output):
    """The new secret."""

    secret: str | None = Field(description="Null when the request is repeated.", examples=["whsec_…"])
    previous_expires_at: Timestamp = Field(description="When the older one stops signing.")


class WebhookSecretShown(Output):
    """The current secret."""

    secret: str | None = Field(description="Null when the request is repeated.", examples=["whsec_…"])


class WebhookTest(Input):
    """What to send as a sample."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event_type": "order.paid"}]})

    event_type: Annotated[Text, Field(min_length=1, max_length=64)] = Field(
        "webhook.ping", description="A type of event that webhooks carry, or `webhook.ping`."
    )


class WebhookTested(Output):
    """What a sample came to."""

    ok: bool
    response_status: int | None
    duration_ms: int
    error_code: str | None = Field(examples=["connect_refused"])
    hint: str | None = Field(description="What to do about it, in a sentence.")
    message_id: UUID = Field(description="The `webhook-id` of the sample.")


class WebhookDeliveryQuery(PageQuery):
    """Filters of the list of deliveries."""

    status: DeliveryStatus | None = Field(None, description="How far it is.")
    event_type: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Deliveries of one type of event."
    )
    error_code: Annotated[Text, Field(min_length=1, max_length=40)] | None = Field(
        None, description="What the last attempt came to."
    )
    from_: Timestamp | None = Field(None, alias="from", description="Happened at this moment or later.")
    to: Timestamp | None = Field(None, description="Happened before this moment.")


class WebhookDeliveryRead(Output):
    """That an event goes to an endpoint."""

    id: UUID
    webhook_id: UUID
    event_id: UUID = Field(description="The `webhook-id` of every attempt.")
    event_type: str
    status: DeliveryStatus
    attempt_count: int
    last_response_status: int | None
    last_error_code: str | None
    next_attempt_at: Timestamp | None
    completed_at: Timestamp | None
    created_at: Timestamp = Field(description="When the event happened.")
    updated_at: Timestamp


class WebhookAttemptRead(Output):
    """One request."""

    id: UUID
    number: int
    trigger: Literal["auto", "manual", "ping", "test"]
    started_at: Timestamp
    duration_ms: int | None = Field(description="Null while it is under way, or when it was lost.")
    remote_ip: str | None
    response_status: int | None
    error_code: str | None
    redirect_target: str | None
    retry_after_s: int | None
    response_headers: dict[str, str]
    response_body: str | None = Field(description="Its first 4096 characters.")


class WebhookDeliveryDetail(WebhookDeliveryRead):
    """A delivery with what was sent and what was answered."""

    event: dict[str, Any] | None = Field(
        description="The envelope; null when it is older than events are kept, or not yours to read."
    )
    attempts: list[WebhookAttemptRead] = Field(description="The last hundred attempts, in their order.")


class WebhookHistoryRead(Output):
    """A delivery in one piece."""

    id: UUID
    webhook_id: UUID
    event_type: str
    payload: dict[str, Any] | None = Field(
        description="The envelope; null when it is older than events are kept, or not yours to read."
    )
    response_status: int | None
    response_body: str | None
    success: bool
    retry_count: int = Field(description="Attempts after the first.")
    created_at: Timestamp
