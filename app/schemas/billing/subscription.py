"""Shapes of the subscription, of checkouts and of changes of plan."""

from typing import Annotated, Literal

from pydantic import Field

from app.schemas.base import Currency, Input, Line, Output, Text, Timestamp
from app.schemas.billing.plans import Interval, PlanCode

ReturnPath = Annotated[Text, Field(min_length=1, max_length=1000, examples=["/billing"])]

Reason = Literal[
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
]


class PendingChange(Output):
    """A change of plan that is to come."""

    plan: str
    interval: Interval
    effective_at: Timestamp


class UsageSummary(Output):
    """What is used of a limit now."""

    metric: str
    used: int
    limit: int | None


class SubscriptionRead(Output):
    """What the organisation subscribed to; without a subscription the free plan, and no status."""

    plan: str = Field(description="The plan that counts now, by subscription or by contract.")
    status: str | None
    access: Literal["full", "grace", "read_only", "free"]
    interval: Interval | None
    amount: int | None = Field(description="Minor units of `currency` per `interval`.")
    currency: str | None
    current_period_start: Timestamp | None
    current_period_end: Timestamp | None
    cancel_at_period_end: bool
    cancel_at: Timestamp | None
    trial_end: Timestamp | None
    grace_ends_at: Timestamp | None = Field(description="While `access` is `grace`: when that ends.")
    pending_change: PendingChange | None
    usage_summary: list[UsageSummary]


class CheckoutCreate(Input):
    """Which plan is bought, and where the payer comes back to."""

    plan: PlanCode
    interval: Interval = Field(examples=["month"])
    currency: Currency = "EUR"
    success_path: ReturnPath = Field(
        description="A path of the application. `{CHECKOUT_SESSION_ID}` in it is filled in."
    )
    cancel_path: ReturnPath


class CheckoutRead(Output):
    """The hosted page on which the plan is paid."""

    url: str
    session_id: str
    expires_at: Timestamp


class PreviewCreate(Input):
    """The plan that would be changed to."""

    plan: PlanCode
    interval: Interval = Field(examples=["month"])


class NextInvoice(Output):
    """What is paid after the change, and when."""

    amount: int
    at: Timestamp


class PreviewLine(Output):
    """A part of what would be paid now; what is left of the old plan is negative."""

    description: str
    amount: int


class Fit(Output):
    """Something of which more is used than the other plan gives."""

    metric: str
    used: int
    new_limit: int


class PreviewRead(Output):
    """What a change of plan would cost. `preview_token` is good until `expires_at`."""

    amount_due_now: int = Field(description="Minor units of `currency`.")
    currency: str
    next_invoice: NextInvoice
    lines: list[PreviewLine]
    fit_check: list[Fit]
    effective_at: Timestamp
    preview_token: str
    expires_at: Timestamp


class SubscriptionChange(Input):
    """The plan that is changed to."""

    plan: PlanCode
    interval: Interval = Field(examples=["month"])
    preview_token: Annotated[Text, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Of the preview; an upgrade needs it."
    )


class SubscriptionCancel(Input):
    """When it ends, and why."""

    at: Literal["period_end", "now"] = "period_end"
    reason: Reason | None = None
    comment: Annotated[Line, Field(max_length=500)] | None = None


class PortalCreate(Input):
    """Where the payer comes back to, and what the page begins with."""

    return_path: ReturnPath
    flow: Literal["payment_method_update", "subscription_cancel"] | None = None


class HostedPage(Output):
    """A page of the payment provider for this organisation, good for a short time."""

    url: str


class InvoicePage(Output):
    """The page on which an invoice is paid."""

    hosted_invoice_url: str
