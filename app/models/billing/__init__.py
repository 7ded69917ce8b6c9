"""Tables of the area billing."""

from app.models.billing.accounting import Invoice, InvoiceLine, RevenueEntry, UsageEvent, UsageMetric
from app.models.billing.plans import DocumentCounter, Plan, PlanGrant
from app.models.billing.subscriptions import (
    BillingCheckout,
    BillingCustomer,
    PaymentMethod,
    PlanPrice,
    Subscription,
)

__all__ = [
    "BillingCheckout",
    "BillingCustomer",
    "DocumentCounter",
    "Invoice",
    "InvoiceLine",
    "PaymentMethod",
    "Plan",
    "PlanGrant",
    "PlanPrice",
    "RevenueEntry",
    "Subscription",
    "UsageEvent",
    "UsageMetric",
]
