"""Payment intents: created, confirmed, captured and cancelled through the API."""

from app.clients.stripe.sandbox.charges import settle_charge
from app.clients.stripe.sandbox.customers import shipping_of
from app.clients.stripe.sandbox.errors import SandboxError, invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.paying import attempt, cancel_intent, settled
from app.clients.stripe.sandbox.payment_methods import attach_to, usable_method
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id, shown
from app.core.currencies import CURRENCIES

MAX_AMOUNT = 99_999_999
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")


def check_amount(amount: int, currency: str, param: str = "amount") -> None:
    """Refuse amounts that Stripe does not charge."""
    known = CURRENCIES.get(currency.upper())
    if known is None:
        raise invalid(f"Invalid currency: {currency}.", code="parameter_invalid", param="currency")
    if amount < max(known.stripe_minimum or 1, 1):
        raise invalid(
            "Amount must be at least the smallest amount of the currency.",
            code="amount_too_small",
            param=param,
        )
    if amount > MAX_AMOUNT:
        raise invalid("Amount must be no more than 99999999.", code="amount_too_large", param=param)


def new_intent(
    state: State,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    metadata: dict[str, str],
    capture_method: str = "automatic",
    description: str | None = None,
    setup_future_usage: str | None = None,
) -> Object:
    """A payment intent that waits for a method."""
    intent = state.create(
        "payment_intent",
        "pi",
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        application=None,
        application_fee_amount=None,
        automatic_payment_methods=None,
        canceled_at=None,
        cancellation_reason=None,
        capture_method=capture_method,
        client_secret=None,
        confirmation_method="automatic",
        currency=currency,
        customer=customer,
        description=description,
        excluded_payment_method_types=None,
        last_payment_error=None,
        latest_charge=None,
        metadata=metadata,
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={},
        payment_method_types=["card"],
        processing=None,
        receipt_email=None,
        review=None,
        setup_future_usage=setup_future_usage,
        shipping=None,
        source=None,
        statement_descriptor=None,
        statement_descriptor_suffix=None,
        status="requires_payment_method",
        transfer_data=None,
        transfer_group=None,
    )
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('s')[5:]}"
    state.emit("payment_intent.created", intent)
    return intent


@route("POST", "/v1/payment_intents", "PaymentIntentCreateParams")
def create_intent(state: State, params: Params) -> Object:
    """An intent, which is confirmed at once with `confirm=true`."""
    amount, currency = params.need_integer("amount"), params.need("currency").lower()
    check_amount(amount, currency)
    customer = params.text("customer")
    if customer:
        state.get("customer", customer, "customer")
    intent = new_intent(
        state,
        amount=amount,
        currency=currency,
        customer=customer,
        metadata=params.metadata(),
        capture_method=params.choice("capture_method", "automatic", CAPTURE_METHODS),
        description=params.text("description"),
        setup_future_usage=params.text("setup_future_usage"),
    )
    intent["shipping"] = shipping_of(params)
    intent["receipt_email"] = params.text("receipt_email")
    if params.boolean("confirm"):
        return confirm(state, intent, params)
    if method := params.text("payment_method"):
        intent.update(payment_method=usable_method(state, method)["id"], status="requires_confirmation")
    return intent


@route("POST", "/v1/payment_intents/{id}", "PaymentIntentUpdateParams")
def update_intent(state: State, params: Params, identifier: str) -> Object:
    """Change an intent; its amount only while nothing was paid."""
    intent = state.get("payment_intent", identifier)
    intent["metadata"] = params.metadata(intent["metadata"])
    if "description" in params:
        intent["description"] = params.text("description")
    if "amount" in params:
        if intent["status"] not in OPEN:
            raise unexpected(intent, "amount cannot be changed")
        amount = params.need_integer("amount")
        check_amount(amount, intent["currency"])
        intent["amount"] = amount
    return intent


@route("POST", "/v1/payment_intents/{id}/confirm", "PaymentIntentConfirmParams")
def confirm_intent(state: State, params: Params, identifier: str) -> Object:
    """Pay an intent with its method, or with the one that is named."""
    return confirm(state, state.get("payment_intent", identifier), params)


def confirm(state: State, intent: Object, params: Params) -> Object:
    """Attempt the payment; a decline is raised and kept."""
    if intent["status"] not in OPEN:
        raise unexpected(intent, "it cannot be confirmed")
    named = params.text("payment_method") or intent["payment_method"]
    if named is None:
        raise required("payment_method")
    method = usable_method(state, named)
    intent["_return_url"] = params.text("return_url")
    if refusal := attempt(state, intent, method, off_session=params.boolean("off_session")):
        raise refusal
    if intent["customer"] and params.text("setup_future_usage", intent["setup_future_usage"]):
        attach_to(state, method, intent["customer"])
    return intent


@route("POST", "/v1/payment_intents/{id}/capture", "PaymentIntentCaptureParams")
def capture_intent(state: State, params: Params, identifier: str) -> Object:
    """Take what was authorised, or a part of it; the rest is given back."""
    intent = state.get("payment_intent", identifier)
    if intent["status"] != "requires_capture":
        raise unexpected(intent, "it could not be captured")
    amount = params.number("amount_to_capture", intent["amount_capturable"])
    if not 1 <= amount <= intent["amount_capturable"]:
        raise invalid(
            "The amount_to_capture is outside what was authorised.",
            code="amount_too_large" if amount > 0 else "amount_too_small",
            param="amount_to_capture",
        )
    charge = state.get("charge", intent["latest_charge"])
    settle_charge(state, charge, amount)
    intent.update(
        status="succeeded",
        amount_capturable=0,
        amount_received=amount,
        metadata=params.metadata(intent["metadata"]),
    )
    state.emit("charge.captured", charge)
    state.emit("payment_intent.succeeded", intent)
    settled(state, intent)
    return intent


@route("POST", "/v1/payment_intents/{id}/cancel", "PaymentIntentCancelParams")
def cancel(state: State, params: Params, identifier: str) -> Object:
    """Cancel an intent that is not paid."""
    intent = state.get("payment_intent", identifier)
    if intent["status"] not in (*OPEN, "requires_capture", "processing"):
        raise unexpected(intent, "it could not be canceled")
    reason = params.choice("cancellation_reason", "requested_by_customer", REASONS)
    cancel_intent(state, intent, reason if "cancellation_reason" in params else None)
    return intent


def unexpected(intent: Object, problem: str) -> SandboxError:
    """400: the intent is not in a state for this."""
    return SandboxError(
        400,
        "invalid_request_error",
        f"This {intent['object'].replace('_', ' ')} has a status of {intent['status']}: {problem}.",
        code=f"{intent['object']}_unexpected_state",
        **{intent["object"]: shown(intent)},
    )


retrievable("payment_intent", "/v1/payment_intents", "PaymentIntentRetrieveParams")
listable("payment_intent", "/v1/payment_intents", "PaymentIntentListParams", customer="customer")
