"""Setup intents: a method is kept for later without paying."""

from app.clients.stripe.sandbox.errors import SandboxError, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.payment_intents import OPEN, unexpected
from app.clients.stripe.sandbox.payment_methods import attach_to, usable_method
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id, shown


def new_setup(
    state: State, customer: str | None, metadata: dict[str, str], usage: str = "off_session"
) -> Object:
    """A setup intent that waits for a method."""
    intent = state.create(
        "setup_intent",
        "seti",
        application=None,
        automatic_payment_methods=None,
        cancellation_reason=None,
        client_secret=None,
        customer=customer,
        description=None,
        excluded_payment_method_types=None,
        flow_directions=None,
        last_setup_error=None,
        latest_attempt=None,
        mandate=None,
        metadata=metadata,
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={},
        payment_method_types=["card"],
        single_use_mandate=None,
        status="requires_payment_method",
        usage=usage,
    )
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('s')[5:]}"
    state.emit("setup_intent.created", intent)
    return intent


@route("POST", "/v1/setup_intents", "SetupIntentCreateParams")
def create_setup(state: State, params: Params) -> Object:
    """A setup intent, which is confirmed at once with `confirm=true`."""
    customer = params.text("customer")
    if customer:
        state.get("customer", customer, "customer")
    usage = params.choice("usage", "off_session", ("off_session", "on_session"))
    intent = new_setup(state, customer, params.metadata(), usage)
    intent["description"] = params.text("description")
    if params.boolean("confirm"):
        return confirm_with(state, intent, params.text("payment_method"))
    if method := params.text("payment_method"):
        intent.update(payment_method=usable_method(state, method)["id"], status="requires_confirmation")
    return intent


@route("POST", "/v1/setup_intents/{id}/confirm", "SetupIntentConfirmParams")
def confirm_setup(state: State, params: Params, identifier: str) -> Object:
    """Set up the method that is named, or the intent's own."""
    return confirm_with(state, state.get("setup_intent", identifier), params.text("payment_method"))


def confirm_with(state: State, intent: Object, named: str | None) -> Object:
    """Set up a method; a refusal is raised and kept."""
    if intent["status"] not in OPEN:
        raise unexpected(intent, "it cannot be confirmed")
    chosen = named or intent["payment_method"]
    if chosen is None:
        raise required("payment_method")
    method = usable_method(state, chosen)
    if method["_behaviour"] == "declines":
        raise fail_setup(state, intent, method, "card_declined", method["_decline_code"])
    intent["payment_method"] = method["id"]
    if method["_behaviour"] == "authenticates" and not intent.get("_authenticated"):
        url = f"{state.base_url}/authenticate/{intent['id']}"
        intent.update(
            status="requires_action",
            next_action={"redirect_to_url": {"return_url": None, "url": url}, "type": "redirect_to_url"},
        )
        state.emit("setup_intent.requires_action", intent)
        return intent
    if intent["customer"]:
        attach_to(state, method, intent["customer"])
    intent.update(status="succeeded", last_setup_error=None, next_action=None)
    state.emit("setup_intent.succeeded", intent)
    return intent


def fail_setup(
    state: State, intent: Object, method: Object, code: str, decline_code: str | None
) -> SandboxError:
    """Note that a method could not be set up."""
    error: Object = {
        "code": code,
        "message": "The payment method could not be set up.",
        "payment_method": shown(method),
        "type": "card_error",
    }
    if decline_code:
        error["decline_code"] = decline_code
    intent.update(
        status="requires_payment_method", payment_method=None, last_setup_error=error, next_action=None
    )
    state.emit("setup_intent.setup_failed", intent)
    more = {name: value for name, value in error.items() if name not in {"type", "message"}}
    return SandboxError(402, "card_error", error["message"], keep=True, setup_intent=shown(intent), **more)


@route("POST", "/v1/setup_intents/{id}/cancel", "SetupIntentCancelParams")
def cancel_setup(state: State, params: Params, identifier: str) -> Object:
    """Give a setup up."""
    intent = state.get("setup_intent", identifier)
    if intent["status"] not in OPEN:
        raise unexpected(intent, "it could not be canceled")
    intent.update(status="canceled", cancellation_reason=params.text("cancellation_reason"), next_action=None)
    state.emit("setup_intent.canceled", intent)
    return intent


retrievable("setup_intent", "/v1/setup_intents", "SetupIntentRetrieveParams")
listable("setup_intent", "/v1/setup_intents", "SetupIntentListParams", customer="customer")
