"""Payment links: made once, opened by any number of payers, each of whom gets a session of checkout."""

from app.clients.stripe.sandbox.checkout import TAX_PERCENT
from app.clients.stripe.sandbox.controls import control
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.pages import Page, page
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import dispatch, route
from app.clients.stripe.sandbox.state import Object, State, new_id, shown
from app.clients.stripe.sandbox.views import includable, listed
from app.clients.stripe.sandbox.views import page as page_of

PLAYED = (
    "active",
    "after_completion",
    "allow_promotion_codes",
    "automatic_tax",
    "currency",
    "customer_creation",
    "line_items",
    "metadata",
    "payment_intent_data",
    "payment_method_types",
)


@route("POST", "/v1/payment_links", "PaymentLinkCreateParams")
def create_link(state: State, params: Params) -> Object:
    """A link that sells prices once; recurring ones are not played."""
    only(params, *PLAYED)
    items = [_item(state, entry) for entry in params.hashes("line_items")]
    if not items:
        raise required("line_items")
    intent = params.hash("payment_intent_data")
    has_tax = params.hash("automatic_tax").boolean("enabled")
    link = state.create("payment_link", "plink", **_blank(params, items[0]["currency"]))
    link.update(
        url=f"{state.base_url}/pay/{link['id']}",
        after_completion=_after(params.hash("after_completion")),
        automatic_tax={"enabled": has_tax, "liability": {"type": "self"} if has_tax else None},
        payment_intent_data=_intent_data(intent) if intent.values else None,
        _items=items,
        _intent_data=dict(intent.values),
    )
    # Of all objects these alone do not tell when they were made.
    del link["created"]
    state.emit("payment_link.created", link)
    return link


@route("POST", "/v1/payment_links/{id}", "PaymentLinkUpdateParams")
def update_link(state: State, params: Params, identifier: str) -> Object:
    """Switch a link off or on, or change its metadata."""
    only(params, "active", "metadata")
    link = state.get("payment_link", identifier)
    changes: Object = {"metadata": params.metadata(link["metadata"])}
    if "active" in params:
        changes["active"] = params.boolean("active")
    return state.update(link, "payment_link.updated", **changes)


@route("GET", "/v1/payment_links/{id}/line_items", "PaymentLinkLineItemListParams")
def list_link_lines(state: State, params: Params, identifier: str) -> Object:
    """What a link sells."""
    link = state.get("payment_link", identifier)
    return page_of(params, f"/v1/payment_links/{identifier}/line_items", shown(link["_items"]))


@includable("payment_link", "line_items")
def lines_of_link(_: State, link: Object) -> Object:
    """The lines of a link, where they are asked for."""
    return listed(f"/v1/payment_links/{link['id']}/line_items", link["_items"])


@control("payment_links/{id}/open")
def open_link(state: State, params: Params, identifier: str) -> Object:
    """Let a payer open a link, whose browser speaks `locale`: a new session of checkout."""
    link = state.get("payment_link", identifier)
    if not link["active"]:
        raise invalid("This payment link is inactive.", code="payment_link_inactive")
    redirect = link["after_completion"]["redirect"]
    session = dispatch(
        state,
        "POST",
        "/v1/checkout/sessions",
        {
            "mode": "payment",
            "line_items": [
                {"price": item["price"]["id"], "quantity": str(item["quantity"])} for item in link["_items"]
            ],
            "success_url": redirect["url"] if redirect else f"{state.base_url}/",
            "metadata": dict(link["metadata"]),
            "payment_intent_data": dict(link["_intent_data"]),
            "automatic_tax": {"enabled": "true" if link["automatic_tax"]["enabled"] else "false"},
            "customer_creation": link["customer_creation"],
        },
    )
    session.update(payment_link=link["id"], locale=params.text("locale"))
    return session


def visit_link(state: State, link_id: str) -> Page:
    """What a browser finds at a link's address: the page of a new session, or that it is switched off."""
    if not state.get("payment_link", link_id)["active"]:
        return page("over", "Payment link", {"status": "inactive"}, status=410)
    return Page(303, location=open_link(state, Params({}), link_id)["url"])


def _item(state: State, entry: Params) -> Object:
    """One line of a link."""
    only(entry, "price", "quantity")
    price = state.get("price", entry.need("price"), entry.name("price"))
    if price["recurring"] is not None:
        raise invalid("The sandbox plays links of one-time prices.", param=entry.name("price"))
    quantity = entry.number("quantity", 1)
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": state.get("product", price["product"])["name"],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def _after(params: Params) -> Object:
    """What the payer sees in the end: Stripe's thanks, or the shop's page."""
    if params.text("type") != "redirect":
        return {
            "hosted_confirmation": {"custom_message": None},
            "redirect": None,
            "type": "hosted_confirmation",
        }
    redirect = {"url": params.hash("redirect").need("url")}
    return {"hosted_confirmation": None, "redirect": redirect, "type": "redirect"}


def _intent_data(params: Params) -> Object:
    only(params, "capture_method", "description", "metadata")
    return {
        "capture_method": params.text("capture_method"),
        "description": params.text("description"),
        "metadata": params.metadata(),
        "setup_future_usage": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "transfer_group": None,
    }


def _blank(params: Params, currency: str) -> Object:
    """What a link says beside what it sells."""
    return {
        "active": True,
        "allow_promotion_codes": params.boolean("allow_promotion_codes"),
        "application": None,
        "application_fee_amount": None,
        "application_fee_percent": None,
        "billing_address_collection": "auto",
        "consent_collection": None,
        "currency": currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer_creation": params.choice("customer_creation", "if_required", ("always", "if_required")),
        "inactive_message": None,
        "invoice_creation": None,
        "managed_payments": None,
        "metadata": params.metadata(),
        "name_collection": None,
        "on_behalf_of": None,
        "optional_items": None,
        "payment_method_collection": "always",
        "payment_method_options": None,
        "payment_method_types": params.texts("payment_method_types") or None,
        "phone_number_collection": {"enabled": False},
        "restrictions": None,
        "shipping_address_collection": None,
        "shipping_options": [],
        "submit_type": "auto",
        "subscription_data": None,
        "tax_id_collection": {"enabled": False, "required": "never"},
        "transfer_data": None,
    }


@includable("item", "taxes")
def taxes_of(state: State, item: Object) -> list[Object]:
    """The tax of a line with its rate, where it is asked for."""
    if not item["amount_tax"]:
        return []
    is_inclusive = item["price"]["tax_behavior"] != "exclusive"
    net = item["amount_total"] - item["amount_tax"]
    rate = {
        "id": new_id("txr"),
        "object": "tax_rate",
        "active": False,
        "country": "FR",
        "created": state.now,
        "description": None,
        "display_name": "VAT",
        "effective_percentage": float(TAX_PERCENT),
        "flat_amount": None,
        "inclusive": is_inclusive,
        "jurisdiction": "France",
        "jurisdiction_level": "country",
        "livemode": False,
        "metadata": {},
        "percentage": float(TAX_PERCENT),
        "rate_type": "percentage",
        "state": None,
        "tax_type": "vat",
    }
    return [
        {
            "amount": item["amount_tax"],
            "rate": rate,
            "taxability_reason": "standard_rated",
            "taxable_amount": net,
        }
    ]


retrievable("payment_link", "/v1/payment_links", "PaymentLinkRetrieveParams")
listable("payment_link", "/v1/payment_links", "PaymentLinkListParams", active="active")
