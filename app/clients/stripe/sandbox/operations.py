"""Every operation that the sandbox plays; importing this module registers them."""

from app.clients.stripe.sandbox import (  # noqa: F401 - importing them registers their operations
    catalog,
    changing,
    charges,
    checkout,
    completing,
    coupons,
    credit_notes,
    customers,
    cycles,
    disputes,
    events,
    invoices,
    payment_intents,
    payment_links,
    payment_methods,
    portal,
    previews,
    refunds,
    schedules,
    setup_intents,
    subscriptions,
    tax_ids,
)
from app.clients.stripe.sandbox.routing import dispatch

__all__ = ["dispatch"]
