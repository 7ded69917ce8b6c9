"""One attempt to pay: what a method does with an intent, and what is told about it."""

from collections.abc import Callable

from app.clients.stripe.sandbox.charges import fail_charge, new_charge, settle_charge
from app.clients.stripe.sandbox.clock import timer
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.state import DAY, Object, State, shown

SETTLEMENT_SECONDS = 5 * DAY
"""How long a direct debit is under way."""

AUTHORIZATION_SECONDS = 7 * DAY
"""How long an authorisation holds without being captured."""

Listener = Callable[[State, Object], None]

LISTENERS: list[Listener] = []
"""Who is told when an intent is paid, authorised, refused or cancelled: invoices and sessions of checkout."""

DECLINES = {
    "generic_decline": ("card_declined", "Your card was declined."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
}


def when_settled(listener: Listener) -> Listener:
    """Register who is told of every outcome of an intent."""
    LISTENERS.append(listener)
    return listener


def settled(state: State, intent: Object) -> None:
    """Tell everybody who waits for this intent."""
    for listener in LISTENERS:
        listener(state, intent)


def attempt(
    state: State, intent: Object, method: Object, *, off_session: bool = False
) -> SandboxError | None:
    """Pay an intent with a method; return the refusal, if it is one that a caller is told at once."""
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    intent["payment_method_types"] = sorted({*intent["payment_method_types"], method["type"]})
    match method["_behaviour"]:
        case "declines":
            return decline(state, intent, method, method["_decline_code"])
        case "attach_only":
            return decline(state, intent, method, "generic_decline")
        case "authenticates" if not intent.get("_authenticated"):
            return _ask_authentication(state, intent, method, off_session=off_session)
        case "settles" | "bounces":
            _await_settlement(state, intent, method)
        case _:
            succeed(state, intent, method)
    return None


def succeed(state: State, intent: Object, method: Object) -> None:
    """Charge an intent; with manual capture the amount is only reserved."""
    charge = new_charge(state, intent, method, "succeeded")
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        state.schedule(state.now + AUTHORIZATION_SECONDS, "authorization_lapses", intent["id"])
        state.emit("charge.succeeded", charge)
        state.emit("payment_intent.amount_capturable_updated", intent)
    else:
        settle_charge(state, charge, intent["amount"])
        intent.update(status="succeeded", amount_received=intent["amount"])
        state.emit("charge.succeeded", charge)
        state.emit("payment_intent.succeeded", intent)
    settled(state, intent)


def decline(
    state: State, intent: Object, method: Object, decline_code: str, code: str | None = None
) -> SandboxError:
    """Note that an attempt was refused; the intent waits for another method."""
    known, message = DECLINES.get(decline_code, ("card_declined", "Your card was declined."))
    charge = new_charge(state, intent, method, "failed")
    fail_charge(charge, code or known, decline_code, message)
    error: Object = {
        "charge": charge["id"],
        "code": code or known,
        "decline_code": decline_code,
        "message": message,
        "payment_method": shown(method),
        "type": "card_error",
    }
    return _refuse(state, intent, error, charge)


def _refuse(state: State, intent: Object, error: Object, charge: Object | None) -> SandboxError:
    """Keep an error on the intent, tell of it, and return what the caller is answered."""
    intent.update(status="requires_payment_method", last_payment_error=error, next_action=None)
    intent["payment_method"] = None
    if charge is not None:
        state.emit("charge.failed", charge)
    state.emit("payment_intent.payment_failed", intent)
    settled(state, intent)
    answered = {name: value for name, value in error.items() if name not in {"type", "message"}}
    return SandboxError(
        402, "card_error", error["message"], keep=True, payment_intent=shown(intent), **answered
    )


def _ask_authentication(
    state: State, intent: Object, method: Object, *, off_session: bool
) -> SandboxError | None:
    """Ask for 3-D Secure; without the payer nobody can answer, so that is a decline."""
    if off_session:
        error: Object = {
            "code": "authentication_required",
            "decline_code": "authentication_required",
            "message": "Your card was declined. This transaction requires authentication.",
            "payment_method": shown(method),
            "type": "card_error",
        }
        charge = new_charge(state, intent, method, "failed")
        fail_charge(charge, "authentication_required", "authentication_required", error["message"])
        return _refuse(state, intent, {**error, "charge": charge["id"]}, charge)
    intent.update(
        status="requires_action",
        next_action={
            "redirect_to_url": {
                "return_url": intent.get("_return_url"),
                "url": f"{state.base_url}/authenticate/{intent['id']}",
            },
            "type": "redirect_to_url",
        },
    )
    state.emit("payment_intent.requires_action", intent)
    return None


def authenticate(state: State, intent: Object, *, passes: bool) -> None:
    """Answer 3-D Secure for an intent that waits for it."""
    method = state.get("payment_method", intent["payment_method"])
    if passes:
        intent["_authenticated"] = True
        attempt(state, intent, method)
        return
    error: Object = {
        "code": "payment_intent_authentication_failure",
        "message": "The provided PaymentMethod has failed authentication.",
        "payment_method": shown(method),
        "type": "invalid_request_error",
    }
    _refuse(state, intent, error, None)


def _await_settlement(state: State, intent: Object, method: Object) -> None:
    """Begin a direct debit, whose outcome is known days later."""
    charge = new_charge(state, intent, method, "pending")
    charge["paid"] = False
    intent["status"] = "processing"
    state.emit("charge.pending", charge)
    state.emit("payment_intent.processing", intent)
    state.schedule(state.now + SETTLEMENT_SECONDS, "debit_settles", intent["id"])


@timer("debit_settles")
def _settle_debit(state: State, intent_id: str) -> None:
    """The bank's answer to a direct debit."""
    intent = state.get("payment_intent", intent_id)
    if intent["status"] != "processing":
        return
    charge = state.get("charge", intent["latest_charge"])
    method = state.get("payment_method", intent["payment_method"])
    if method["_behaviour"] == "settles":
        settle_charge(state, charge, intent["amount"])
        intent.update(status="succeeded", amount_received=intent["amount"])
        state.emit("charge.succeeded", charge)
        state.emit("payment_intent.succeeded", intent)
        settled(state, intent)
        return
    message = "The customer's bank account has insufficient funds."
    fail_charge(charge, "insufficient_funds", None, message)
    error: Object = {
        "charge": charge["id"],
        "code": "insufficient_funds",
        "message": message,
        "payment_method": shown(method),
        "type": "card_error",
    }
    _refuse(state, intent, error, charge)


@timer("authorization_lapses")
def _lapse(state: State, intent_id: str) -> None:
    """An authorisation that nobody captured is void."""
    intent = state.get("payment_intent", intent_id)
    if intent["status"] == "requires_capture":
        cancel_intent(state, intent, "automatic")


def cancel_intent(state: State, intent: Object, reason: str | None) -> None:
    """Cancel an intent; what was reserved is given back."""
    charge = state.find("charge", intent["latest_charge"])
    if charge and charge["status"] == "succeeded" and not charge["captured"]:
        charge.update(amount_refunded=charge["amount"], refunded=True)
        state.emit("charge.refunded", charge)
    intent.update(
        status="canceled",
        amount_capturable=0,
        canceled_at=state.now,
        cancellation_reason=reason,
        next_action=None,
    )
    state.emit("payment_intent.canceled", intent)
    settled(state, intent)
