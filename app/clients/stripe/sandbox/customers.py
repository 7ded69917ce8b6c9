"""The account and its customers."""

from app.clients.stripe.sandbox.errors import missing
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id
from app.clients.stripe.sandbox.tax_ids import forget_tax_id, tax_ids_of
from app.clients.stripe.sandbox.views import page

ACCOUNT_ID = "acct_sbxLuneoSandbox01"
ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
PLAIN = ("name", "description", "phone", "individual_name", "business_name", "invoice_prefix")


@route("GET", "/v1/account", "AccountRetrieveCurrentParams")
def retrieve_account(_state: State, _params: Params) -> Object:
    """Whose key this is."""
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_type": "company",
        "charges_enabled": True,
        "country": "FR",
        "default_currency": "eur",
        "details_submitted": True,
        "email": "sandbox@luneo.test",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


def address_of(params: Params, name: str = "address") -> Object | None:
    """A postal address with every name, or None."""
    if not params.values.get(name):
        return None
    given = params.hash(name)
    return {part: given.text(part) for part in ADDRESS}


def shipping_of(params: Params) -> Object | None:
    """Where goods go, or None."""
    if not params.values.get("shipping"):
        return None
    given = params.hash("shipping")
    return {"address": address_of(given), "name": given.text("name"), "phone": given.text("phone")}


@route("POST", "/v1/customers", "CustomerCreateParams")
def create_customer(state: State, params: Params) -> Object:
    """A customer; a payment method is attached, and becomes the default of invoices when named so."""
    customer = state.create(
        "customer",
        "cus",
        address=None,
        balance=params.number("balance", 0),
        currency=None,
        default_source=None,
        delinquent=False,
        description=None,
        discount=None,
        email=None,
        invoice_prefix=new_id("x")[5:13].upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        name=None,
        next_invoice_sequence=1,
        phone=None,
        preferred_locales=[],
        shipping=None,
        tax_exempt="none",
        test_clock=None,
    )
    customer.update(_given(state, params, customer))
    state.emit("customer.created", customer)
    return customer


@route("POST", "/v1/customers/{id}", "CustomerUpdateParams")
def update_customer(state: State, params: Params, identifier: str) -> Object:
    """Change a customer."""
    customer = state.get("customer", identifier)
    return state.update(customer, "customer.updated", **_given(state, params, customer))


def _given(state: State, params: Params, customer: Object) -> Object:
    """What a form says about a customer."""
    changes: Object = {"metadata": params.metadata(customer["metadata"])}
    changes |= {name: params.text(name) for name in PLAIN if name in params}
    if "email" in params:
        changes["email"] = params.text("email", most=512)
    if "address" in params:
        changes["address"] = address_of(params)
    if "shipping" in params:
        changes["shipping"] = shipping_of(params)
    if "balance" in params:
        changes["balance"] = params.number("balance", 0)
    if "preferred_locales" in params:
        changes["preferred_locales"] = params.texts("preferred_locales")
    if "tax_exempt" in params:
        changes["tax_exempt"] = params.choice("tax_exempt", "none", ("none", "exempt", "reverse"))
    settings = params.hash("invoice_settings")
    if "default_payment_method" in settings:
        chosen = settings.text("default_payment_method")
        if chosen is not None:
            method = state.find("payment_method", chosen)
            if method is None or method["customer"] != customer["id"]:
                raise missing("PaymentMethod", chosen, "invoice_settings[default_payment_method]", 400)
        changes["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": chosen}
    return changes


@route("DELETE", "/v1/customers/{id}", "CustomerDeleteParams")
def delete_customer(state: State, _: Params, identifier: str) -> Object:
    """Remove a customer: the methods are detached and the subscriptions end."""
    customer = state.get("customer", identifier)
    for method in state.all("payment_method", where=lambda item: item["customer"] == identifier):
        method["customer"] = None
    for tax_id in tax_ids_of(state, identifier):
        forget_tax_id(tax_id)
    for subscription in state.all("subscription", where=lambda item: item["customer"] == identifier):
        if subscription["status"] not in {"canceled", "incomplete_expired"}:
            state.update(
                subscription,
                "customer.subscription.deleted",
                status="canceled",
                canceled_at=state.now,
                ended_at=state.now,
            )
    state.emit("customer.deleted", customer)
    customer_id = customer["id"]
    customer.clear()
    customer.update(id=customer_id, object="customer", deleted=True)
    return customer


@route("GET", "/v1/customers/{id}/payment_methods", "CustomerPaymentMethodListParams")
def list_methods(state: State, params: Params, identifier: str) -> Object:
    """The methods of a customer, newest first."""
    state.get("customer", identifier)
    kind = params.text("type")

    def fits(method: Object) -> bool:
        return method["customer"] == identifier and kind in (None, method["type"])

    url = f"/v1/customers/{identifier}/payment_methods"
    return page(params, url, state.all("payment_method", where=fits))


retrievable("customer", "/v1/customers", "CustomerRetrieveParams")
listable("customer", "/v1/customers", "CustomerListParams", email="email")
