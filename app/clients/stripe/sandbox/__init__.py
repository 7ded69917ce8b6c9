"""A small Stripe that speaks the wire format to the real library, for development and tests."""
