"""What is agreed about a subscription besides its items: method, trial, end, discounts, tax."""

from app.clients.stripe.sandbox.coupons import named_discounts
from app.clients.stripe.sandbox.errors import invalid, missing
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.periods import current_period
from app.clients.stripe.sandbox.state import DAY, Object, State

WITHOUT_METHOD = ("cancel", "create_invoice", "pause")
FEEDBACK = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
MAX_TRIAL_DAYS = 730


def method_of_customer(state: State, customer: str, identifier: str | None, param: str) -> str | None:
    """The id of a method that is attached to the customer, or None."""
    if identifier is None:
        return None
    method = state.find("payment_method", identifier)
    if method is None:
        raise missing("PaymentMethod", identifier, param, 400)
    if method["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {identifier}. The payment method must "
            "be attached to the customer.",
            code="resource_missing",
            param=param,
        )
    return identifier


def trial_settings_of(params: Params, present: Object) -> Object:
    """What happens when a trial ends without a method."""
    behavior = params.hash("trial_settings").hash("end_behavior")
    before = present["end_behavior"]["missing_payment_method"]
    chosen = behavior.choice("missing_payment_method", before, WITHOUT_METHOD)
    return {"end_behavior": {"missing_payment_method": chosen}}


def automatic_tax_of(params: Params) -> Object:
    """Whether tax is added by itself."""
    enabled = params.hash("automatic_tax").boolean("enabled")
    return {"disabled_reason": None, "enabled": enabled, "liability": {"type": "self"} if enabled else None}


def payment_settings_of(params: Params, present: Object) -> Object:
    """Whether the method of the first payment is kept as the subscription's own."""
    given = params.hash("payment_settings")
    saves = present["save_default_payment_method"]
    types = given.texts("payment_method_types") or present["payment_method_types"]
    return {
        "payment_method_options": None,
        "payment_method_types": types,
        "save_default_payment_method": given.choice(
            "save_default_payment_method", saves, ("off", "on_subscription")
        ),
    }


def trial_end_of(state: State, params: Params) -> int | None:
    """When the trial of a new subscription ends, or None."""
    days = params.integer("trial_period_days")
    until = params.text("trial_end")
    if days is not None and until is not None:
        raise invalid("You may only specify one of trial_end and trial_period_days.", param="trial_end")
    if days is not None:
        if not 0 <= days <= MAX_TRIAL_DAYS:
            raise invalid("A trial has at most 730 days.", param="trial_period_days")
        return state.now + days * DAY if days else None
    if until in {None, "now"}:
        return None
    return future(state, params, "trial_end")


def future(state: State, params: Params, name: str) -> int:
    """A time to come."""
    moment = params.need_integer(name)
    if not state.now < moment <= state.now + 5 * 366 * DAY:
        raise invalid(f"The timestamp of {name} must be in the future, five years at most.", param=name)
    return moment


def plain_changes(state: State, params: Params, subscription: Object) -> Object:
    """The attributes that an update changes without any money being moved."""
    changes: Object = {}
    if "metadata" in params:
        changes["metadata"] = params.metadata(subscription["metadata"])
    if "description" in params:
        changes["description"] = params.text("description")
    if "default_payment_method" in params:
        named = params.text("default_payment_method")
        changes["default_payment_method"] = method_of_customer(
            state, subscription["customer"], named, "default_payment_method"
        )
    if "trial_settings" in params:
        changes["trial_settings"] = trial_settings_of(params, subscription["trial_settings"])
    if "automatic_tax" in params:
        changes["automatic_tax"] = automatic_tax_of(params)
    if "payment_settings" in params:
        changes["payment_settings"] = payment_settings_of(params, subscription["payment_settings"])
    if "discounts" in params:
        changes["discounts"] = named_discounts(state, params, subscription["customer"], subscription["id"])
    if "cancellation_details" in params:
        changes["cancellation_details"] = cancellation_details_of(params, subscription)
    return changes | _end_changes(state, params, subscription, changes)


def cancellation_details_of(params: Params, subscription: Object) -> Object:
    """Why a subscription is to end, in the customer's words."""
    given, present = params.hash("cancellation_details"), subscription["cancellation_details"]
    details: Object = dict(present)
    if "comment" in given:
        details["comment"] = given.text("comment")
    if "feedback" in given:
        feedback = given.text("feedback")
        details["feedback"] = given.choice("feedback", feedback, FEEDBACK) if feedback else None
    return details


def _end_changes(state: State, params: Params, subscription: Object, changes: Object) -> Object:
    """When the subscription is to end: with its period, at a time, or not at all."""
    if "cancel_at_period_end" not in params and "cancel_at" not in params:
        return {}
    if subscription["schedule"]:
        raise invalid(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and "
            "updating any cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    details: Object = {**subscription["cancellation_details"], **changes.get("cancellation_details", {})}
    at: int | None = None
    with_period = params.boolean("cancel_at_period_end")
    if with_period:
        at = current_period(subscription)[1]
    elif params.text("cancel_at"):
        at = future(state, params, "cancel_at")
    if at is None:
        return {
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": {**details, "reason": None},
        }
    return {
        "cancel_at": at,
        "cancel_at_period_end": with_period,
        "canceled_at": subscription["canceled_at"] or state.now,
        "cancellation_details": {**details, "reason": "cancellation_requested"},
    }
