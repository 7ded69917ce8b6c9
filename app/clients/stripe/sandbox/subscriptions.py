"""Subscriptions: created, listed, resumed and cancelled; changing them is `changing`."""

from app.clients.stripe.sandbox.billing import charge, is_settled, issue, set_periods
from app.clients.stripe.sandbox.collecting import finalise, method_for
from app.clients.stripe.sandbox.coupons import named_discounts
from app.clients.stripe.sandbox.due import ENDED, INCOMPLETE_SECONDS, plan
from app.clients.stripe.sandbox.errors import invalid, missing
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.invoice_lines import period_lines, trial_lines
from app.clients.stripe.sandbox.periods import item_list, items_of, new_items, period_end
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.proration import credit_lines
from app.clients.stripe.sandbox.reading import retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.standing import change, end
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.terms import (
    automatic_tax_of,
    cancellation_details_of,
    method_of_customer,
    payment_settings_of,
    plain_changes,
    trial_end_of,
    trial_settings_of,
)
from app.clients.stripe.sandbox.views import page

START_BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete")
STATUSES = (
    "active",
    "past_due",
    "unpaid",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "trialing",
    "paused",
)


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams")
def create_subscription(state: State, params: Params) -> Object:
    """A subscription, whose first invoice is charged at once unless a trial comes first."""
    only(
        params,
        *("customer", "items", "default_payment_method", "metadata", "trial_period_days", "trial_end"),
        *("trial_settings", "discounts", "automatic_tax", "payment_behavior", "payment_settings"),
        *("description", "collection_method", "cancel_at_period_end", "cancel_at", "off_session"),
        *("currency", "billing_mode", "proration_behavior", "cancellation_details"),
    )
    params.choice("collection_method", "charge_automatically", ("charge_automatically",))
    behavior = params.choice("payment_behavior", START_BEHAVIORS[0], START_BEHAVIORS)
    customer = state.get("customer", params.need("customer"), "customer")
    subscription = blank(state, params, customer)
    items = new_items(state, subscription["id"], params)
    subscription.update(currency=items[0]["price"]["currency"], items=item_list(subscription["id"], items))
    if customer["currency"] not in (None, subscription["currency"]):
        raise invalid(
            "You cannot combine currencies on a single customer. This customer has had a subscription or "
            f"invoice with currency {customer['currency']}."
        )
    subscription["discounts"] = named_discounts(state, params, customer["id"], subscription["id"])
    begin(state, subscription, trial_end_of(state, params))
    subscription.update(plain_changes(state, _end_of(params), subscription))
    state.emit("customer.subscription.created", subscription)
    _bill_first(state, subscription, behavior)
    plan(state, subscription)
    return subscription


def _end_of(params: Params) -> Params:
    """The parameters that say when a subscription is to end."""
    names = ("cancel_at_period_end", "cancel_at", "cancellation_details")
    return Params({name: params.values[name] for name in names if name in params})


def blank(state: State, params: Params, customer: Object) -> Object:
    """A subscription that has not begun."""
    method = params.text("default_payment_method")
    nothing = {
        "payment_method_types": None,
        "save_default_payment_method": "off",
    }
    return state.create(
        "subscription",
        "sub",
        application=None,
        application_fee_percent=None,
        automatic_tax=automatic_tax_of(params),
        billing_cycle_anchor=state.now,
        billing_cycle_anchor_config=None,
        billing_schedules=[],
        billing_mode={"flexible": None, "type": params.hash("billing_mode").text("type", "classic")},
        billing_thresholds=None,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method="charge_automatically",
        customer=customer["id"],
        days_until_due=None,
        default_payment_method=method_of_customer(state, customer["id"], method, "default_payment_method"),
        default_source=None,
        default_tax_rates=[],
        description=params.text("description"),
        discounts=[],
        ended_at=None,
        invoice_settings={"account_tax_ids": None, "issuer": {"type": "self"}},
        latest_invoice=None,
        metadata=params.metadata(),
        next_pending_invoice_item_invoice=None,
        on_behalf_of=None,
        pause_collection=None,
        payment_settings=payment_settings_of(params, nothing),
        pending_invoice_item_interval=None,
        pending_setup_intent=None,
        pending_update=None,
        schedule=None,
        start_date=state.now,
        status="incomplete",
        test_clock=None,
        transfer_data=None,
        trial_end=None,
        trial_settings=trial_settings_of(
            params, {"end_behavior": {"missing_payment_method": "create_invoice"}}
        ),
        trial_start=None,
        _announced_end=None,
        _is_end_announced=False,
        _pending_lines=[],
    )


def begin(state: State, subscription: Object, trial_end: int | None) -> None:
    """Let the first period begin, or the trial."""
    items = items_of(subscription)
    if trial_end is not None:
        set_periods(items, state.now, trial_end)
        subscription.update(
            billing_cycle_anchor=trial_end, status="trialing", trial_start=state.now, trial_end=trial_end
        )
        return
    recurring = items[0]["price"]["recurring"]
    set_periods(items, state.now, period_end(state.now, state.now, recurring))


def _bill_first(state: State, subscription: Object, behavior: str) -> None:
    """Make the first invoice, and charge it as the payment behaviour says."""
    items = items_of(subscription)
    is_trial = subscription["status"] == "trialing"
    lines = (trial_lines if is_trial else period_lines)(state, subscription, items)
    invoice = issue(state, subscription, lines, "subscription_create", retries=False)
    if behavior == "default_incomplete":
        finalise(state, invoice)
        return
    refusal = charge(state, subscription, invoice)
    if is_settled(state, invoice) or (behavior == "allow_incomplete" and method_for(state, subscription)):
        return
    if refusal is not None:
        # Nothing is kept of a subscription that could not be paid at once.
        refusal.keep = False
        raise refusal


@route("GET", "/v1/subscriptions", "SubscriptionListParams")
def list_subscriptions(state: State, params: Params) -> Object:
    """Subscriptions, newest first; those that ended only where `status` asks for them."""
    customer, price = params.text("customer"), params.text("price")
    status = params.choice("status", "", ("", "all", "ended", *STATUSES)) if "status" in params else ""

    def fits(item: Object) -> bool:
        by_status = {"": item["status"] != "canceled", "all": True, "ended": item["status"] in ENDED}
        return (
            by_status.get(status, item["status"] == status)
            and customer in (None, item["customer"])
            and (price is None or any(entry["price"]["id"] == price for entry in items_of(item)))
        )

    return page(params, "/v1/subscriptions", state.all("subscription", where=fits))


@route("DELETE", "/v1/subscriptions/{id}", "SubscriptionCancelParams")
def cancel_subscription(state: State, params: Params, identifier: str) -> Object:
    """End a subscription now; unused time is given back as a balance only where both are asked for."""
    subscription = state.get("subscription", identifier)
    if subscription["status"] in ENDED:
        raise missing("subscription", identifier)
    subscription["cancellation_details"] = cancellation_details_of(params, subscription)
    invoice_now, prorate = params.boolean("invoice_now"), params.boolean("prorate")
    if invoice_now != prorate:
        raise invalid("The sandbox plays invoice_now and prorate together only.", param="prorate")
    is_running = subscription["status"] in {"active", "past_due", "unpaid"}
    if prorate and is_running:
        lines = credit_lines(state, subscription, state.now)
        invoice = issue(state, subscription, lines, "subscription_update", retries=False)
        charge(state, subscription, invoice)
    end(state, subscription, "cancellation_requested")
    return subscription


@route("POST", "/v1/subscriptions/{id}/resume", "SubscriptionResumeParams")
def resume_subscription(state: State, params: Params, identifier: str) -> Object:
    """Let a paused subscription go on: its period begins now, once its invoice is paid."""
    only(params, "billing_cycle_anchor", "proration_behavior")
    params.choice("billing_cycle_anchor", "now", ("now",))
    subscription = state.get("subscription", identifier)
    if subscription["status"] != "paused":
        raise invalid("Only subscriptions with the status paused can be resumed.")
    if subscription.get("_resumes_with"):
        raise invalid("The invoice of this resumption is still to be paid.")
    items = items_of(subscription)
    set_periods(items, state.now, period_end(state.now, state.now, items[0]["price"]["recurring"]))
    lines = period_lines(state, subscription, items)
    invoice = issue(state, subscription, lines, "subscription_update", retries=False)
    subscription["_resumes_with"] = invoice["id"]
    change(state, subscription, billing_cycle_anchor=state.now)
    if refusal := charge(state, subscription, invoice):
        state.schedule(state.now + INCOMPLETE_SECONDS, "resumption_lapses", subscription["id"])
        if not method_for(state, subscription):
            refusal.keep = False
            raise refusal
    return subscription


retrievable("subscription", "/v1/subscriptions", "SubscriptionRetrieveParams")
