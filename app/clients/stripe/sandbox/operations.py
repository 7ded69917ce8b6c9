"""Every operation that the sandbox plays; importing this module registers them."""

from app.clients.stripe.sandbox import (
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
    payment_methods,
    portal,
    previews,
    refunds,
    schedules,
    setup_intents,
    subscriptions,
)
from app.clients.stripe.sandbox.routing import dispatch

PLAYED = (
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
    payment_methods,
    portal,
    previews,
    refunds,
    schedules,
    setup_intents,
    subscriptions,
)
"""The modules by subject."""

__all__ = ["PLAYED", "dispatch"]
