"""Payment methods: Stripe's test names, and what paying with each of them does."""

from dataclasses import dataclass

from app.clients.stripe.sandbox.customers import address_of
from app.clients.stripe.sandbox.errors import SandboxError, invalid, missing
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id
from app.clients.stripe.sandbox.views import page


@dataclass(frozen=True)
class Kind:
    """A test method: its type, its last four digits and its behaviour.

    Behaviours: `succeeds`, `declines` (with the decline code), `authenticates`, `attach_only`, `settles` and
    `bounces` (after days).
    """

    type: str
    last4: str
    behaviour: str
    brand: str = "visa"
    decline_code: str = "generic_decline"


METHODS = {
    "pm_card_visa": Kind("card", "4242", "succeeds"),
    "pm_card_mastercard": Kind("card", "4444", "succeeds", "mastercard"),
    "pm_card_visa_chargeDeclined": Kind("card", "0002", "declines"),
    "pm_card_chargeDeclined": Kind("card", "0002", "declines"),
    "pm_card_chargeDeclinedInsufficientFunds": Kind(
        "card", "9995", "declines", decline_code="insufficient_funds"
    ),
    "pm_card_authenticationRequired": Kind("card", "3184", "authenticates"),
    "pm_sbx_attach_only": Kind("card", "0341", "attach_only"),
    "pm_sbx_sepa": Kind("sepa_debit", "3201", "settles"),
    "pm_sbx_sepa_fails": Kind("sepa_debit", "2606", "bounces"),
    "pm_sbx_paypal": Kind("paypal", "", "succeeds"),
}
"""What may be named instead of the id of a method."""

TOKENS = {
    "tok_visa": "pm_card_visa",
    "tok_mastercard": "pm_card_mastercard",
    "tok_chargeDeclined": "pm_card_visa_chargeDeclined",
}
TYPES = ("card", "sepa_debit", "paypal")
BY_TYPE = {"card": "pm_card_visa", "sepa_debit": "pm_sbx_sepa", "paypal": "pm_sbx_paypal"}


def new_method(state: State, kind: Kind, billing: Params | None = None) -> Object:
    """A method of a kind."""
    given = billing or Params({})
    method = state.create(
        "payment_method",
        "pm",
        allow_redisplay="unspecified",
        billing_details={
            "address": address_of(given)
            or dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": given.text("email"),
            "name": given.text("name"),
            "phone": given.text("phone"),
            "tax_id": None,
        },
        customer=None,
        type=kind.type,
        _behaviour=kind.behaviour,
        _decline_code=kind.decline_code,
    )
    method[kind.type] = details(kind)
    return method


def details(kind: Kind) -> Object:
    """What Stripe shows of a method of this kind."""
    match kind.type:
        case "card":
            return {
                "brand": kind.brand,
                "checks": {
                    "address_line1_check": None,
                    "address_postal_code_check": None,
                    "cvc_check": "pass",
                },
                "country": "FR",
                "display_brand": kind.brand,
                "exp_month": 12,
                "exp_year": 2034,
                "fingerprint": f"sbx{kind.last4}{kind.brand}",
                "funding": "credit",
                "generated_from": None,
                "last4": kind.last4,
                "networks": {"available": [kind.brand], "preferred": None},
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            }
        case "sepa_debit":
            return {
                "bank_code": "37040044",
                "branch_code": "",
                "country": "DE",
                "fingerprint": f"sbxsepa{kind.last4}",
                "generated_from": {"charge": None, "setup_attempt": None},
                "last4": kind.last4,
            }
        case _:
            return {"country": "FR", "payer_email": "payer@example.com", "payer_id": new_id("payer")[10:22]}


def usable_method(state: State, identifier: str, param: str = "payment_method") -> Object:
    """The method of an id; a test name makes a new one, as at Stripe."""
    if kind := METHODS.get(identifier):
        return new_method(state, kind)
    found = state.find("payment_method", identifier)
    if found is None:
        raise missing("PaymentMethod", identifier, param, 400)
    return found


@route("POST", "/v1/payment_methods", "PaymentMethodCreateParams")
def create_method(state: State, params: Params) -> Object:
    """A method of a type; cards come as tokens, since numbers are for Stripe's own forms."""
    kind = params.choice("type", params.need("type"), TYPES)
    name = BY_TYPE[kind]
    if kind == "card":
        card = params.hash("card")
        if "number" in card:
            raise SandboxError(
                402,
                "card_error",
                "Sending credit card numbers directly to the Stripe API is generally unsafe.",
                code="",
            )
        token = card.text("token", "tok_visa") or ""
        if token not in TOKENS:
            raise missing("token", token, "card[token]", 400)
        name = TOKENS[token]
    method = new_method(state, METHODS[name], params.hash("billing_details"))
    method["metadata"] = params.metadata()
    return method


@route("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams")
def attach(state: State, params: Params, identifier: str) -> Object:
    """Attach a method to a customer; a card that always declines cannot be attached."""
    method = usable_method(state, identifier)
    customer = state.get("customer", params.need("customer"), "customer")
    return attach_to(state, method, customer["id"])


def attach_to(state: State, method: Object, customer_id: str) -> Object:
    """Bind a method to a customer once."""
    if method["customer"] not in (None, customer_id):
        raise invalid("The payment method you provided has already been attached to a customer.")
    if method.get("_was_detached"):
        raise invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was detached "
            "from a Customer, and may not be used again.",
        )
    if method["_behaviour"] == "declines":
        raise SandboxError(
            402,
            "card_error",
            "Your card was declined.",
            code="card_declined",
            decline_code=method["_decline_code"],
            param="",
        )
    if method["customer"] is None:
        method["customer"] = customer_id
        state.emit("payment_method.attached", method)
    return method


@route("POST", "/v1/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach(state: State, _: Params, identifier: str) -> Object:
    """Take a method from its customer for good."""
    method = state.get("payment_method", identifier)
    customer = state.find("customer", method["customer"])
    if customer is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    if customer["invoice_settings"]["default_payment_method"] == identifier:
        settings = {**customer["invoice_settings"], "default_payment_method": None}
        state.update(customer, "customer.updated", invoice_settings=settings)
    for subscription in state.all(
        "subscription", where=lambda item: item["default_payment_method"] == identifier
    ):
        state.update(subscription, "customer.subscription.updated", default_payment_method=None)
    method["_was_detached"] = True
    return state.update(method, "payment_method.detached", customer=None)


@route("POST", "/v1/payment_methods/{id}", "PaymentMethodUpdateParams")
def update_method(state: State, params: Params, identifier: str) -> Object:
    """Change the details of a method."""
    method = state.get("payment_method", identifier)
    changes: Object = {"metadata": params.metadata(method["metadata"])}
    if "billing_details" in params:
        given = params.hash("billing_details")
        billing = {**method["billing_details"]}
        billing |= {name: given.text(name) for name in ("email", "name", "phone") if name in given}
        if "address" in given:
            billing["address"] = address_of(given)
        changes["billing_details"] = billing
    return state.update(method, "payment_method.updated", **changes)


@route("GET", "/v1/payment_methods/{id}", "PaymentMethodRetrieveParams")
def retrieve_method(state: State, _: Params, identifier: str) -> Object:
    """A method; for a test name a new one, as at Stripe."""
    kind = METHODS.get(identifier)
    return state.get("payment_method", identifier) if kind is None else new_method(state, kind)


@route("GET", "/v1/payment_methods", "PaymentMethodListParams")
def list_methods(state: State, params: Params) -> Object:
    """Methods of a customer, newest first."""
    customer, kind = params.text("customer"), params.text("type")

    def fits(method: Object) -> bool:
        return (
            method["customer"] is not None
            and method["customer"] == customer
            and kind in (None, method["type"])
        )

    return page(params, "/v1/payment_methods", state.all("payment_method", where=fits))
