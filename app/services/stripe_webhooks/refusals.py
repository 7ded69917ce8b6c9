"""Owns what the errors of Stripe mean: for the caller, for the command, and how they are kept with it."""

from typing import Any

from app.clients.stripe import (
    StripeClient,
    StripeDeclined,
    StripeError,
    StripeMisconfigured,
    StripeMissing,
    StripeNotConfigured,
    StripeRefused,
    StripeUnavailable,
    stripe_client,
)
from app.core.errors import AppError, Conflict, Invalid, PaymentRequired, Unavailable

MAX_TEXT = 300

AUTHENTICATION = "authentication_required"
REFUNDED = "charge_already_refunded"
AMOUNTS = ("amount_too_small", "amount_too_large")
TAX_NUMBER = "tax_id_invalid"
"""Stripe's word for a tax number that cannot be one; ours for whatever it refuses of one, its type too."""

OUT_OF_SYNC = "out_of_sync"
"""Our word for a refusal by a state of the object that we do not know of."""

TRANSIENT = (StripeUnavailable, StripeMisconfigured, StripeNotConfigured)
"""After these the command stays, and is sent again with the same key."""

KINDS: dict[str, type[StripeError]] = {
    kind.__name__: kind
    for kind in (
        StripeDeclined,
        StripeUnavailable,
        StripeMissing,
        StripeRefused,
        StripeMisconfigured,
        StripeNotConfigured,
    )
}


def needs_authentication(error: StripeError) -> bool:
    """Whether the payer has to confirm the payment: no failure, the payer's turn."""
    return isinstance(error, StripeDeclined) and AUTHENTICATION in (error.code, error.decline_code)


def is_over_refunded(error: StripeError) -> bool:
    """Whether more was to be refunded than is left, so that refunds exist which we do not know."""
    if not isinstance(error, StripeRefused):
        return False
    return error.code == REFUNDED or (error.param == "amount" and "greater than" in error.message)


def is_our_defect(error: StripeError) -> bool:
    """Whether Stripe did not understand us: an alert, since no caller can do anything about it."""
    is_theirs = error.code in {*AMOUNTS, TAX_NUMBER} or is_over_refunded(error)
    return isinstance(error, StripeRefused) and not is_theirs


def answer_to(error: StripeError) -> AppError:  # noqa: PLR0911 - one return per line of the page's table
    """What the caller of a route is answered. Texts are ours: an issuer's and Stripe's stay inside."""
    match error:
        case StripeDeclined():
            return _declined(error)
        case StripeNotConfigured():
            return billing_not_configured()
        case StripeMisconfigured():
            return Unavailable(
                "payment_provider_misconfigured", "Payments are out of order; we are told, try later."
            )
        case StripeMissing():
            return Conflict(
                "provider_out_of_sync",
                "The payment provider does not know this any more; it is being compared, repeat later.",
            )
        case StripeRefused() if error.code == OUT_OF_SYNC:
            return Conflict(
                "provider_out_of_sync",
                "It was changed at the payment provider meanwhile; read it again before you repeat.",
            )
        case StripeRefused() if is_over_refunded(error):
            return Conflict("already_refunded", "It was refunded already; read the order again.")
        case StripeRefused(code="amount_too_small" | "amount_too_large" as code):
            return Invalid(code, "The payment provider does not take an amount of this size.")
        case StripeRefused():
            return Unavailable(
                "payment_provider_error",
                "The payment provider did not accept the request; we are told.",
                headers={"Retry-After": "60"},
            )
        case _:
            return Unavailable(
                "payment_provider_unavailable",
                "The payment provider does not answer; repeat in a moment.",
                headers={"Retry-After": "5"},
            )


def _declined(error: StripeDeclined) -> PaymentRequired:
    if needs_authentication(error):
        return PaymentRequired(
            "payment_action_required",
            "The payer has to confirm the payment with their bank.",
            client_secret=(error.object or {}).get("client_secret"),
        )
    return PaymentRequired(
        "card_declined",
        "The card was declined; use another one, or ask its bank.",
        decline_code=error.decline_code or "generic_decline",
    )


def billing_not_configured() -> Unavailable:
    """503 of every route that needs Stripe where there is none."""
    return Unavailable(
        "billing_not_configured",
        "Payments are not set up here; ask the operator.",
        headers={"Retry-After": "3600"},
    )


def require_stripe() -> StripeClient:
    """The client of this process, for routes that need one: 503 `billing_not_configured` without."""
    try:
        return stripe_client()
    except StripeNotConfigured:
        raise billing_not_configured() from None


def kept_error(error: StripeError) -> dict[str, Any]:
    """An error as a command keeps it; neither secrets nor what the issuer says about the payer."""
    shown = "" if isinstance(error, StripeDeclined) else error.message[:MAX_TEXT]
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "decline_code": error.decline_code,
        "param": error.param,
        "status": error.status,
        "request_id": error.request_id,
        "message": shown,
    }


def error_kept(kept: dict[str, Any]) -> StripeError:
    """The error that a command kept."""
    kind = KINDS.get(str(kept.get("kind")), StripeRefused)
    fields = {name: kept.get(name) for name in ("code", "decline_code", "param", "status", "request_id")}
    return kind(str(kept.get("message") or ""), **fields, object=kept.get("object"))
