"""Every operation that the sandbox plays; importing this module registers them."""

from app.clients.stripe.sandbox import (
    catalog,
    charges,
    checkout,
    completing,
    coupons,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    refunds,
    setup_intents,
)
from app.clients.stripe.sandbox.routing import dispatch

PLAYED = (
    catalog,
    charges,
    checkout,
    completing,
    coupons,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    refunds,
    setup_intents,
)
"""The modules by subject."""

__all__ = ["PLAYED", "dispatch"]
