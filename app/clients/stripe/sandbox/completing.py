"""What a payer does on the page of a session: each outcome, and what is told of it later."""

from app.clients.stripe.sandbox.errors import SandboxError, invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.paying import attempt, authenticate, when_settled
from app.clients.stripe.sandbox.payment_intents import new_intent
from app.clients.stripe.sandbox.payment_methods import METHODS, Kind, attach_to, new_method
from app.clients.stripe.sandbox.routing import dispatch
from app.clients.stripe.sandbox.setup_intents import confirm_with, fail_setup, new_setup
from app.clients.stripe.sandbox.state import Object, State, copied
from app.clients.stripe.sandbox.tax_ids import printed_tax_ids

OUTCOMES = {
    "card": METHODS["pm_card_visa"],
    "card_declined": METHODS["pm_card_visa_chargeDeclined"],
    "insufficient_funds": METHODS["pm_card_chargeDeclinedInsufficientFunds"],
    "3ds_passed": METHODS["pm_card_authenticationRequired"],
    "3ds_failed": METHODS["pm_card_authenticationRequired"],
    "sepa": METHODS["pm_sbx_sepa"],
    "sepa_fails": METHODS["pm_sbx_sepa_fails"],
    "paypal": METHODS["pm_sbx_paypal"],
}
"""The buttons of the page, and what each pays with."""

AUTHENTICATED = Kind("card", "3184", "succeeds")
"""A card of a subscription whose owner has passed 3-D Secure on the page."""

BUYER = {"email": "buyer@example.com", "name": "Camille Martin", "country": "FR"}


def complete(state: State, session_id: str, outcome: str) -> Object:
    """Let the payer choose an outcome; a refused payment is raised, and leaves the session open."""
    session = state.get("checkout.session", session_id)
    if session["status"] != "open":
        raise invalid(f"This session is {session['status']}.", code="checkout_session_not_open")
    if outcome not in OUTCOMES:
        raise invalid(f"Choose one of {', '.join(OUTCOMES)}.", param="outcome")
    match session["mode"]:
        case "payment":
            _pay(state, session, outcome)
        case "setup":
            _set_up(state, session, outcome)
        case _:
            _subscribe_or_undo(state, session, outcome)
    session.update(status="complete", url=None, customer_details=_details(state, session))
    state.emit("checkout.session.completed", session)
    return session


def _data(session: Object, name: str) -> Params:
    """What the session was told about the object that it makes."""
    return Params(session["_data"].get(name, {}), name)


def _customer(state: State, session: Object) -> Object | None:
    """The customer of a session; one is made where the session must have one."""
    if session["customer"]:
        return state.get("customer", session["customer"])
    if session["mode"] == "payment" and session["customer_creation"] != "always":
        return None
    values = {"email": session["customer_email"] or BUYER["email"], "name": BUYER["name"]}
    made = dispatch(state, "POST", "/v1/customers", values)
    session["customer"] = made["id"]
    return made


def _details(state: State, session: Object) -> Object:
    """Who paid."""
    customer = state.find("customer", session["customer"]) or {}
    address = customer.get("address") or {
        **dict.fromkeys(("city", "line1", "line2", "postal_code", "state")),
        "country": BUYER["country"],
    }
    return {
        "address": address,
        "business_name": None,
        "email": customer.get("email") or session["customer_email"] or BUYER["email"],
        "individual_name": None,
        "name": customer.get("name") or BUYER["name"],
        "phone": customer.get("phone"),
        "tax_exempt": "none",
        "tax_ids": printed_tax_ids(state, customer["id"]) if customer else [],
    }


def _pay(state: State, session: Object, outcome: str) -> None:
    """Pay once. The intent stays the same however many attempts it takes."""
    customer = _customer(state, session)
    if session["amount_total"] == 0:
        session["payment_status"] = "no_payment_required"
        return
    intent = state.find("payment_intent", session["payment_intent"])
    if intent is None:
        data = _data(session, "payment_intent_data")
        intent = new_intent(
            state,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=customer["id"] if customer else None,
            metadata=data.metadata(),
            capture_method=data.text("capture_method") or "automatic",
            description=data.text("description"),
            setup_future_usage=data.text("setup_future_usage"),
        )
        intent["_session"] = session["id"]
        session["payment_intent"] = intent["id"]
    method = new_method(state, OUTCOMES[outcome], _billing(session))
    if refusal := attempt(state, intent, method):
        raise refusal
    if outcome.startswith("3ds"):
        authenticate(state, intent, passes=outcome == "3ds_passed")
        if outcome == "3ds_failed":
            raise _refused("payment_intent_authentication_failure")
    if customer and intent["setup_future_usage"]:
        attach_to(state, method, customer["id"])
    session["payment_method_types"] = sorted({*session["payment_method_types"], method["type"]})
    if intent["status"] == "succeeded":
        session["payment_status"] = "paid"


def _billing(session: Object) -> Params:
    email = session["customer_email"] or BUYER["email"]
    address = {"country": BUYER["country"]}
    return Params({"email": email, "name": BUYER["name"], "address": address})


def _refused(code: str) -> SandboxError:
    """A refusal on the page; what the attempt left behind stays."""
    return SandboxError(402, "card_error", "The payment was refused.", keep=True, code=code)


def _set_up(state: State, session: Object, outcome: str) -> None:
    """Keep a method for later."""
    customer = _customer(state, session)
    intent = state.find("setup_intent", session["setup_intent"])
    if intent is None:
        data = _data(session, "setup_intent_data")
        intent = new_setup(state, customer["id"] if customer else None, data.metadata())
        session["setup_intent"] = intent["id"]
    method = new_method(state, OUTCOMES[outcome], _billing(session))
    if outcome == "3ds_failed":
        raise fail_setup(state, intent, method, "setup_intent_authentication_failure", None)
    intent["_authenticated"] = outcome == "3ds_passed"
    confirm_with(state, intent, method["id"])


def _subscribe(state: State, session: Object, outcome: str) -> None:
    """Begin a subscription; a refused card leaves nothing behind, as on Stripe's page."""
    if outcome == "3ds_failed":
        raise _refused("payment_intent_authentication_failure")
    customer = _customer(state, session)
    if customer is None:
        raise invalid("A subscription needs a customer.")
    data = _data(session, "subscription_data")
    kind = AUTHENTICATED if outcome == "3ds_passed" else OUTCOMES[outcome]
    is_free = session["amount_total"] == 0 or bool(data.text("trial_period_days") or data.text("trial_end"))
    values = {
        **{name: value for name, value in data.values.items() if name != "invoice_settings"},
        "customer": customer["id"],
        "items": [
            {"price": item["price"]["id"], "quantity": str(item["quantity"])}
            for item in session["_items"]
            if item["price"]["type"] == "recurring"
        ],
        "payment_behavior": "error_if_incomplete",
    }
    if not (is_free and session["payment_method_collection"] == "if_required"):
        method = attach_to(state, new_method(state, kind, _billing(session)), customer["id"])
        values["default_payment_method"] = method["id"]
    if session["discounts"]:
        values["discounts"] = [
            {"promotion_code": entry["promotion_code"]}
            if entry["promotion_code"]
            else {"coupon": entry["coupon"]}
            for entry in session["discounts"]
        ]
    if session["_has_tax"]:
        values["automatic_tax"] = {"enabled": "true"}
    subscription = _begin(state, session, values)
    invoice = state.get("invoice", subscription["latest_invoice"])
    session.update(
        subscription=subscription["id"],
        invoice=invoice["id"],
        payment_status="no_payment_required"
        if is_free and invoice["amount_due"] == 0
        else ("paid" if invoice["status"] == "paid" else "unpaid"),
    )
    invoice["_session"] = session["id"]


def _subscribe_or_undo(state: State, session: Object, outcome: str) -> None:
    """Begin a subscription, or leave everything as it was before a card that is refused."""
    before = copied(state.document)
    try:
        _subscribe(state, session, outcome)
    except SandboxError as refusal:
        if refusal.status == 402:
            state.document.clear()
            state.document.update(before)
            refusal.keep = True
        raise


def _begin(state: State, session: Object, values: Object) -> Object:
    """Create the subscription. Prices that were made for this session are for sale to it alone."""
    made = [
        price for item in session["_items"] if not (price := state.objects[item["price"]["id"]])["active"]
    ]
    for price in made:
        price["active"] = True
    subscription = dispatch(state, "POST", "/v1/subscriptions", values)
    for price in made:
        price["active"] = False
    return subscription


@when_settled
def _on_intent(state: State, intent: Object) -> None:
    """Tell how a payment ended that was under way when the session was completed."""
    invoice = state.find("invoice", intent.get("_invoice")) or {}
    session = state.find("checkout.session", intent.get("_session") or invoice.get("_session"))
    if session is None or session["status"] != "complete" or session["payment_status"] != "unpaid":
        return
    if intent["status"] == "succeeded":
        session["payment_status"] = "paid"
        if intent["capture_method"] != "manual":
            state.emit("checkout.session.async_payment_succeeded", session)
    elif intent["status"] == "requires_payment_method":
        state.emit("checkout.session.async_payment_failed", session)
