"""What the intake of Stripe's webhooks answers, and what the platform's staff sees of it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.core.paging import PageQuery
from app.schemas.base import Input, Output, Text, Timestamp

EventStatus = Literal["pending", "done", "skipped", "dead"]
CommandStatus = Literal["pending", "sent", "succeeded", "failed"]
DifferenceStatus = Literal["open", "repaired", "ignored"]
DifferenceKind = Literal[
    "missing_event",
    "amount_drift",
    "status_drift",
    "orphan_payment",
    "unknown_refund",
    "paid_but_closed",
    "ledger_gap",
    "catalog_drift",
]

StripeId = Annotated[Text, Field(min_length=1, max_length=255)]


class StripeReceived(Output):
    """A delivery was kept."""

    received: Literal[True] = True
    duplicate: bool = Field(description="Whether the event was known already.")


class StripeEventQuery(PageQuery):
    """Which events, newest first."""

    status: EventStatus | None = Field(None, description="How far they are.")
    type: StripeId | None = Field(None, description="Their type.", examples=["invoice.paid"])
    object_id: StripeId | None = Field(None, description="The object that they are about.")
    organization_id: UUID | None = Field(None, description="The organisation that they concern.")
    since: Annotated[Timestamp | None, Field(description="Received not before this moment.")] = Field(
        None, alias="from"
    )
    until: Annotated[Timestamp | None, Field(description="Received before this moment.")] = Field(
        None, alias="to"
    )


class StripeEventSummary(Output):
    """An event of the inbox."""

    id: str = Field(examples=["evt_1"])
    type: str = Field(examples=["invoice.paid"])
    api_version: str | None
    livemode: bool
    stripe_created_at: Timestamp
    object_type: str | None
    object_id: str | None
    endpoint: str = Field(description="How it came; `backfill`: found by reconciliation.")
    deliveries: int
    organization_id: UUID | None
    status: EventStatus
    attempts: int
    next_attempt_at: Timestamp
    last_error: str | None
    result: dict[str, Any] | None
    received_at: Timestamp
    processed_at: Timestamp | None


class StripeEventRead(StripeEventSummary):
    """An event with what was delivered."""

    payload: dict[str, Any] = Field(description="As delivered; `{}` once it was removed for its age.")


class StripeCommandQuery(PageQuery):
    """Which commands, newest first."""

    status: CommandStatus | None = Field(None, description="How far they are.")
    kind: StripeId | None = Field(None, description="What Stripe is to do.", examples=["refund.create"])


class StripeCommandRead(Output):
    """Something that Stripe is told to do."""

    id: UUID = Field(description="Stripe's idempotency key.")
    organization_id: UUID
    kind: str = Field(examples=["refund.create"])
    subject_type: str = Field(examples=["refund"])
    subject_id: UUID
    status: CommandStatus
    attempts: int
    first_sent_at: Timestamp | None
    next_attempt_at: Timestamp
    error: dict[str, Any] | None
    result_id: str | None
    created_at: Timestamp
    finished_at: Timestamp | None


class DifferenceQuery(PageQuery):
    """Which differences, newest first."""

    status: DifferenceStatus | None = Field(None, description="Whether somebody has dealt with them.")
    kind: DifferenceKind | None = Field(None, description="What differs.")


class DifferenceRead(Output):
    """Something in which Stripe and our rows disagree."""

    id: UUID
    kind: DifferenceKind
    stripe_id: str
    organization_id: UUID | None
    local_ref: str | None
    expected: dict[str, Any] = Field(description="What Stripe says.")
    actual: dict[str, Any] = Field(description="What our rows say.")
    explanation: str
    repair: str | None = Field(description="What would put it right; null: a person has to.")
    status: DifferenceStatus
    first_seen_at: Timestamp
    last_seen_at: Timestamp
    closed_at: Timestamp | None
    closed_by: str | None


class DifferenceNote(Input):
    """Why nothing is done about a difference."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"note": "Refunded by hand in the dashboard."}]}
    )

    note: Text = Field(min_length=1, max_length=500)


class RunStarted(Output):
    """A run was queued."""

    queued_at: Timestamp
