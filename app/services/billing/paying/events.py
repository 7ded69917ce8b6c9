"""What is told of plans by contract."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.core.events import AuditSpec
from app.services.billing.events import BillingEvent


@dataclass(frozen=True, kw_only=True)
class GrantEvent(BillingEvent):
    """What every event of a contract says."""

    webhook: ClassVar[bool] = False
    subject: ClassVar[tuple[str, str] | None] = ("plan_grant", "grant_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("plan_grant", "grant_id"),))

    grant_id: UUID
    plan: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class GrantCreated(GrantEvent):
    """An organisation got a plan by contract."""

    type: ClassVar[str] = "plan_grant.created"
    description: ClassVar[str] = "The platform's staff gave the organisation a plan."


@dataclass(frozen=True, kw_only=True)
class GrantEnded(GrantEvent):
    """A plan by contract has ended."""

    type: ClassVar[str] = "plan_grant.ended"
    description: ClassVar[str] = "The platform's staff ended a plan that they had given."
