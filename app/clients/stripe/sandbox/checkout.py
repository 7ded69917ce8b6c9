"""Sessions of checkout: created, listed and expired; completing them is `completing`."""

from app.clients.stripe.sandbox.catalog import new_price, new_product
from app.clients.stripe.sandbox.clock import each_pass
from app.clients.stripe.sandbox.coupons import taken_off
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.paying import cancel_intent
from app.clients.stripe.sandbox.payment_intents import OPEN, check_amount
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import DAY, Object, State, new_id, shown
from app.clients.stripe.sandbox.views import includable, listed, page
from app.core.money import allocate, half_up

SHORTEST_SECONDS, LONGEST_SECONDS = 30 * 60, DAY
MODES = ("payment", "subscription", "setup")
TAX_PERCENT = 20
"""The standard rate of France, where the sandbox's account is; only where automatic tax is asked for."""

LEEWAY_SECONDS = 60
"""The library's request takes a moment, as it does at Stripe."""


@route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams")
def create_session(state: State, params: Params) -> Object:
    """An open session of one of the three modes."""
    mode = params.choice("mode", params.need("mode"), MODES)
    customer = params.text("customer")
    if customer:
        state.get("customer", customer, "customer")
    if params.text("ui_mode", "hosted_page") in {"hosted", "hosted_page"}:
        params.need("success_url")
    items = [_line(state, entry) for entry in params.hashes("line_items")]
    if not items and mode != "setup":
        raise required("line_items")
    _check_modes(items, mode)
    discounts = [_discount(state, entry) for entry in params.hashes("discounts")]
    currency = items[0]["currency"] if items else (params.text("currency") or "eur").lower()
    has_tax = params.hash("automatic_tax").boolean("enabled")
    totals = _total(state, items, discounts, has_tax=has_tax)
    if mode == "payment" and totals["amount_total"]:
        check_amount(totals["amount_total"], currency, "line_items")
    now = state.real_now
    session = state.create("checkout.session", "cs_test", **_blank(params, mode, currency, customer))
    session.update(totals)
    session.update(
        created=now,
        expires_at=_expiry(params, now),
        discounts=discounts,
        automatic_tax={
            "enabled": has_tax,
            "liability": {"type": "self"} if has_tax else None,
            "provider": "stripe" if has_tax else None,
            "status": "complete" if has_tax else None,
        },
        url=f"{state.base_url}/checkout/{session['id']}",
        _has_tax=has_tax,
        _items=items,
        _data={
            name: dict(params.hash(name).values)
            for name in ("payment_intent_data", "subscription_data", "setup_intent_data")
            if name in params
        },
    )
    return session


def _check_modes(items: list[Object], mode: str) -> None:
    """Recurring prices are for subscriptions, and a session has one currency."""
    recurring = [item["price"]["type"] == "recurring" for item in items]
    if mode == "payment" and any(recurring):
        raise invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` "
            "mode or use only one-time prices.",
            param="line_items[0]",
        )
    if mode == "subscription" and not any(recurring):
        raise invalid("You must provide at least one recurring price in `subscription` mode.", param="mode")
    if len({item["currency"] for item in items}) > 1:
        raise invalid("All prices must have the same currency.", param="line_items")


def _line(state: State, entry: Params) -> Object:
    """One line, whose price may be made on the spot and is then not for sale again."""
    if "price_data" in entry:
        data = entry.hash("price_data")
        if "product_data" in data:
            product = new_product(state, data.hash("product_data"))
            product["active"] = False
        else:
            product = state.get("product", data.need("product"), data.name("product"))
        price = new_price(state, data, product["id"], is_active=False)
    else:
        price = state.get("price", entry.need("price"), entry.name("price"))
        if not price["active"]:
            raise invalid(f"The price {price['id']} is inactive.", param=entry.name("price"))
        product = state.get("product", price["product"])
    quantity = entry.number("quantity", 1)
    if not 1 <= quantity <= 999_999:
        raise invalid("Invalid quantity.", code="parameter_invalid_integer", param=entry.name("quantity"))
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
        "description": product["name"],
        "metadata": entry.metadata(),
        "price": price,
        "quantity": quantity,
    }


def _discount(state: State, entry: Params) -> Object:
    """A coupon, named by itself or by a promotion code."""
    code = entry.text("promotion_code")
    if code:
        coupon = state.get("promotion_code", code, entry.name("promotion_code"))["promotion"]["coupon"]
    else:
        coupon = entry.need("coupon")
    if not state.get("coupon", coupon, entry.name("coupon"))["valid"]:
        raise invalid(
            f"Coupon {coupon} is used up or over.", code="coupon_expired", param=entry.name("coupon")
        )
    return {"coupon": coupon, "promotion_code": code}


def _total(state: State, items: list[Object], discounts: list[Object], *, has_tax: bool) -> Object:
    """Spread discount and tax over the lines, and add up; a price includes its tax if it does not say."""
    subtotals = [item["amount_subtotal"] for item in items]
    off = 0
    for entry in discounts:
        used = {"source": {"coupon": entry["coupon"]}}
        off += taken_off(state, used, sum(subtotals) - off, items[0]["currency"])
    for item, part in zip(items, allocate(off, subtotals), strict=True):
        net = item["amount_subtotal"] - part
        is_added = item["price"]["tax_behavior"] == "exclusive"
        tax = half_up(net * TAX_PERCENT, 100 if is_added else 100 + TAX_PERCENT) if has_tax else 0
        item.update(amount_discount=part, amount_tax=tax, amount_total=net + (tax if is_added else 0))
    return {
        "amount_subtotal": sum(subtotals),
        "amount_total": sum(item["amount_total"] for item in items),
        "total_details": {
            "amount_discount": off,
            "amount_shipping": 0,
            "amount_tax": sum(item["amount_tax"] for item in items),
        },
    }


def _expiry(params: Params, now: int) -> int:
    """When the session ends: 24 hours from now unless it is to be sooner."""
    expires_at = params.number("expires_at", now + LONGEST_SECONDS)
    if not SHORTEST_SECONDS - LEEWAY_SECONDS <= expires_at - now <= LONGEST_SECONDS + LEEWAY_SECONDS:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session "
            "creation.",
            param="expires_at",
        )
    return expires_at


def _blank(params: Params, mode: str, currency: str, customer: str | None) -> Object:
    """What a session says before it is used."""
    return {
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": params.boolean("allow_promotion_codes") or None,
        "billing_address_collection": params.text("billing_address_collection"),
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id", most=200),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency": None if mode == "setup" else currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": customer,
        "customer_creation": None if customer else params.text("customer_creation", "if_required"),
        "customer_details": None,
        "customer_email": params.text("customer_email", most=800),
        "invoice": None,
        "invoice_creation": None,
        "locale": params.text("locale"),
        "metadata": params.metadata(),
        "mode": mode,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": params.choice(
            "payment_method_collection", "always", ("always", "if_required")
        ),
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": params.texts("payment_method_types") or ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": params.text("success_url"),
        "ui_mode": "hosted_page",
        "wallet_options": None,
    }


@route("POST", "/v1/checkout/sessions/{id}/expire", "checkout.SessionExpireParams")
def expire_session(state: State, _: Params, identifier: str) -> Object:
    """Close an open session."""
    session = state.get("checkout.session", identifier)
    if session["status"] != "open":
        raise invalid('Only Checkout Sessions with a status in ["open"] can be expired.')
    close_session(state, session)
    return session


def close_session(state: State, session: Object) -> None:
    """Let a session be over; its intent is cancelled with it."""
    session.update(status="expired", url=None)
    intent = state.find("payment_intent", session["payment_intent"])
    if intent is not None and intent["status"] in OPEN:
        cancel_intent(state, intent, "expired")
    state.emit("checkout.session.expired", session)


@each_pass
def _expire_old(state: State) -> None:
    """Sessions end in real time, however far the clock was moved."""
    for session in state.all("checkout.session", where=lambda item: item["status"] == "open"):
        if session["expires_at"] <= state.real_now:
            close_session(state, session)


@route("GET", "/v1/checkout/sessions/{id}/line_items", "checkout.SessionLineItemListParams")
def list_lines(state: State, params: Params, identifier: str) -> Object:
    """The lines of a session, as they were given."""
    session = state.get("checkout.session", identifier)
    return page(params, f"/v1/checkout/sessions/{identifier}/line_items", shown(session["_items"]))


@includable("checkout.session", "line_items")
def lines_of(_: State, session: Object) -> Object:
    """The first lines of a session, where they are asked for."""
    items = session["_items"]
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return listed(url, items[:100], has_more=len(items) > 100)


retrievable("checkout.session", "/v1/checkout/sessions", "checkout.SessionRetrieveParams")
listable(
    "checkout.session",
    "/v1/checkout/sessions",
    "checkout.SessionListParams",
    customer="customer",
    payment_intent="payment_intent",
    status="status",
    subscription="subscription",
)
