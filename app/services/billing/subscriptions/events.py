"""What is told of subscriptions, payment methods, and invoices that are not paid."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.core.events import AuditSpec
from app.services.billing.events import BillingEvent, InvoiceEvent
from app.services.stripe_webhooks.events import StripeAlert


@dataclass(frozen=True, kw_only=True)
class SubscriptionEvent(BillingEvent):
    """What every event of a subscription says."""

    subject: ClassVar[tuple[str, str] | None] = ("subscription", "subscription_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("subscription", "subscription_id"),))

    subscription_id: UUID
    plan: str
    status: str
    access: str
    interval: str
    current_period_end: datetime | None
    cancel_at_period_end: bool
    pending_plan: str | None


@dataclass(frozen=True, kw_only=True)
class SubscriptionCreated(SubscriptionEvent):
    """An organisation subscribed."""

    type: ClassVar[str] = "subscription.created"
    description: ClassVar[str] = "The organisation subscribed to a plan."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class SubscriptionUpdated(SubscriptionEvent):
    """Something about a subscription is different."""

    type: ClassVar[str] = "subscription.updated"
    description: ClassVar[str] = "The plan, the state or the term of a subscription changed."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class SubscriptionPastDue(SubscriptionEvent):
    """A renewal was not paid."""

    type: ClassVar[str] = "subscription.past_due"
    description: ClassVar[str] = "A renewal was not paid; the plan can be used for some more days."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class SubscriptionCanceled(SubscriptionEvent):
    """A subscription has ended."""

    type: ClassVar[str] = "subscription.canceled"
    description: ClassVar[str] = "A subscription has ended; the organisation is on the free plan."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class SubscriptionTrialEnding(SubscriptionEvent):
    """A trial is about to end."""

    type: ClassVar[str] = "subscription.trial_ending"
    description: ClassVar[str] = "A trial ends in three days, and what comes then is paid."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class SubscriptionAccessChanged(SubscriptionEvent):
    """What the subscription lets the organisation do is different."""

    type: ClassVar[str] = "subscription.access_changed"
    description: ClassVar[str] = "The plan can be used fully, with a warning, only for reading, or not."
    webhook: ClassVar[bool] = False
    audit: ClassVar[AuditSpec | str] = "It follows from a change of the subscription, or from time."

    previous_access: str


@dataclass(frozen=True, kw_only=True)
class InvoiceUpcoming(SubscriptionEvent):
    """A renewal is about to be paid. `amount` is in minor units of `currency`, as it would be today."""

    type: ClassVar[str] = "invoice.upcoming"
    description: ClassVar[str] = "A subscription is renewed in some days, and what it costs is paid then."
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    audit: ClassVar[AuditSpec | str] = "Nobody acted: it follows from time."

    amount: int
    currency: str
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class DuplicateRefunded(SubscriptionEvent):
    """Somebody paid twice and got the second payment back: `amount` in minor units of `currency`."""

    type: ClassVar[str] = "subscription.duplicate_refunded"
    description: ClassVar[str] = "A second subscription was paid; it was ended and its payment given back."
    webhook: ClassVar[bool] = False

    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class InvoicePaymentFailed(InvoiceEvent):
    """Paying an invoice of the platform failed."""

    type: ClassVar[str] = "invoice.payment_failed"
    description: ClassVar[str] = "An invoice could not be paid; it is tried again after some days."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")

    attempt: int
    attempts_told_before: int
    is_last_attempt: bool


@dataclass(frozen=True, kw_only=True)
class InvoicePaymentActionRequired(InvoiceEvent):
    """Paying an invoice waits for the payer."""

    type: ClassVar[str] = "invoice.payment_action_required"
    description: ClassVar[str] = "An invoice waits until the payer confirms the payment."
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")


@dataclass(frozen=True, kw_only=True)
class InvoiceRecovered(InvoiceEvent):
    """An invoice that had failed is paid."""

    type: ClassVar[str] = "invoice.recovered"
    description: ClassVar[str] = "An invoice was paid after an attempt that had failed."
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail",)


@dataclass(frozen=True, kw_only=True)
class InvoiceVoided(InvoiceEvent):
    """An invoice is void."""

    type: ClassVar[str] = "invoice.voided"
    description: ClassVar[str] = "An invoice was declared void."


@dataclass(frozen=True, kw_only=True)
class PaymentMethodEvent(BillingEvent):
    """What every event of a payment method says."""

    webhook: ClassVar[bool] = False
    subject: ClassVar[tuple[str, str] | None] = ("payment_method", "payment_method_id")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("payment_method", "payment_method_id"),))

    payment_method_id: UUID
    type_: Annotated[str, Field(alias="type")]
    last4: str | None


@dataclass(frozen=True, kw_only=True)
class PaymentMethodAdded(PaymentMethodEvent):
    """There is one more way to pay."""

    type: ClassVar[str] = "payment_method.added"
    description: ClassVar[str] = "A card, mandate or account to pay with was added."


@dataclass(frozen=True, kw_only=True)
class PaymentMethodRemoved(PaymentMethodEvent):
    """A way to pay is gone."""

    type: ClassVar[str] = "payment_method.removed"
    description: ClassVar[str] = "A card, mandate or account to pay with was removed."


@dataclass(frozen=True, kw_only=True)
class PaymentMethodSetupFailed(BillingEvent):
    """Adding a way to pay came to nothing. `code` is the payment provider's word for the reason."""

    type: ClassVar[str] = "payment_method.setup_failed"
    description: ClassVar[str] = "A card, mandate or account to pay with could not be added."
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ("mail",)
    subject: ClassVar[tuple[str, str] | None] = ("setup_intent", "setup_intent_id")
    audit: ClassVar[AuditSpec | str] = "Nothing changed: what pays is what paid before."

    setup_intent_id: str
    code: str | None


@dataclass(frozen=True, kw_only=True)
class StripeCatalogDrift(StripeAlert):
    """A price at Stripe is not what is asked here."""

    type: ClassVar[str] = "stripe.catalog_drift"
    description: ClassVar[str] = "A price at Stripe is different from the price list, and is not sold."

    kind: str
