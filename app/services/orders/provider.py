"""What orders ask of the payment provider, by the names of the commands."""

OPEN_CHECKOUT = "checkout_session.create_payment"
CLOSE_CHECKOUT = "checkout_session.expire"
REFUND = "refund.create"
CAPTURE = "payment_intent.capture"
CANCEL_INTENT = "payment_intent.cancel"
