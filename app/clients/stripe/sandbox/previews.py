"""Previews of invoices: the amounts that the same call without a preview would ask."""

from app.clients.stripe.sandbox.billing import next_lines
from app.clients.stripe.sandbox.changing import Change, quote
from app.clients.stripe.sandbox.coupons import named_discounts
from app.clients.stripe.sandbox.cycles import upcoming
from app.clients.stripe.sandbox.due import ENDED
from app.clients.stripe.sandbox.errors import SandboxError, invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.invoice_lines import period_lines
from app.clients.stripe.sandbox.invoice_objects import draft_invoice
from app.clients.stripe.sandbox.periods import current_period, item_list, items_of, new_items
from app.clients.stripe.sandbox.phases import following_items
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, copied
from app.clients.stripe.sandbox.subscriptions import begin, blank


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams")
def create_preview(state: State, params: Params) -> Object:
    """The next invoice of a subscription, or the one that a change or a new subscription would make."""
    # What a preview does on the way, such as redeeming a coupon, happens to a copy.
    tried = State(copied(state.document), state.base_url)
    tried.now = state.now
    return _preview(tried, params)


def _preview(state: State, params: Params) -> Object:
    only(
        params,
        *("customer", "subscription", "subscription_details", "discounts", "automatic_tax"),
        *("preview_mode", "currency"),
    )
    details = params.hash("subscription_details")
    only(details, "items", "proration_behavior", "proration_date", "billing_cycle_anchor")
    named = params.text("subscription")
    if named is None:
        return _of_new(state, params, details)
    subscription = state.get("subscription", named, "subscription")
    if params.text("customer", subscription["customer"]) != subscription["customer"]:
        raise invalid("The subscription is not one of this customer.", param="subscription")
    discounts = _discounts(state, params, subscription)
    changed = quote(state, subscription, details)
    if changed is None:
        if subscription["status"] in (*ENDED, "paused", "incomplete") or subscription["cancel_at_period_end"]:
            raise none_upcoming(subscription["customer"])
        items = following_items(state, subscription)
        return upcoming(state, subscription, items, discounts=discounts)
    if subscription["status"] in (*ENDED, "paused", "incomplete"):
        raise none_upcoming(subscription["customer"])
    return _of_change(state, params, subscription, changed, discounts)


def _discounts(state: State, params: Params, subscription: Object) -> list[str] | None:
    """The discounts that a preview names; None leaves the subscription's own."""
    if "discounts" not in params:
        return None
    return named_discounts(state, params, subscription["customer"], subscription["id"])


def _of_change(
    state: State, params: Params, subscription: Object, changed: Change, discounts: list[str] | None
) -> Object:
    """What a change would ask now, or add to the next invoice."""
    if params.choice("preview_mode", "next", ("next", "recurring")) == "recurring":
        until = current_period(subscription)[1]
        lines = next_lines(state, subscription, changed.items, until)
        return draft_invoice(
            state, subscription, lines, "upcoming", discounts=discounts, prefix="upcoming_in"
        )
    if not changed.is_billed_now:
        return upcoming(state, subscription, changed.items, changed.lines, discounts=discounts)
    invoice = draft_invoice(
        state,
        subscription,
        [*copied(subscription["_pending_lines"]), *changed.lines],
        "upcoming",
        discounts=discounts,
        proration_date=changed.moment,
        prefix="upcoming_in",
    )
    start, until = current_period(subscription)
    invoice.update(period_start=start, period_end=until)
    return invoice


def _of_new(state: State, params: Params, details: Params) -> Object:
    """The first invoice of a subscription that does not exist."""
    customer = state.get("customer", params.need("customer"), "customer")
    if "items" not in details:
        running = state.all(
            "subscription",
            where=lambda item: item["customer"] == customer["id"] and item["status"] not in ENDED,
        )
        subscription = next(running, None)
        if subscription is None:
            raise none_upcoming(customer["id"])
        return upcoming(state, subscription, following_items(state, subscription))
    if not details.values.get("items"):
        raise required("subscription_details[items]")
    subscription = blank(state, params, customer)
    items = new_items(state, subscription["id"], details)
    subscription.update(currency=items[0]["price"]["currency"], items=item_list(subscription["id"], items))
    begin(state, subscription, None)
    discounts = _discounts(state, params, subscription)
    lines = period_lines(state, subscription, items_of(subscription))
    return draft_invoice(state, subscription, lines, "upcoming", discounts=discounts, prefix="upcoming_in")


def none_upcoming(customer: str) -> SandboxError:
    """404: nothing will be billed."""
    return SandboxError(
        404,
        "invalid_request_error",
        f"No upcoming invoices for customer: {customer}",
        code="invoice_upcoming_none",
    )
