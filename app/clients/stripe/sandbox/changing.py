"""Changing a subscription: other items, prorated by the second, pending until paid where so asked."""

from dataclasses import dataclass, field

from app.clients.stripe.sandbox.billing import charge, is_settled, issue, set_periods
from app.clients.stripe.sandbox.collecting import finalise
from app.clients.stripe.sandbox.due import ENDED, INCOMPLETE_SECONDS
from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.invoice_lines import period_lines
from app.clients.stripe.sandbox.periods import (
    changed_items,
    current_period,
    is_same_interval,
    item_list,
    items_of,
    period_end,
)
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.proration import change_lines, check_moment, credit_lines
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.standing import await_payment, change, change_items, drop_held
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.terms import future, plain_changes
from app.clients.stripe.sandbox.trials import end_trial, move_trial_end

PRORATIONS = ("create_prorations", "always_invoice", "none")
BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
PENDING_PARAMETERS = frozenset(
    {
        "items",
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "billing_cycle_anchor",
        "metadata",
        "off_session",
        "expand",
    }
)
"""What may be asked together with `pending_if_incomplete`."""


@dataclass
class Change:
    """A change of items before it is made: its lines, and what the subscription will be like."""

    items: list[Object]
    lines: list[Object]
    is_billed_now: bool
    moment: int
    changes: Object = field(default_factory=dict)


@route("POST", "/v1/subscriptions/{id}", "SubscriptionUpdateParams")
def update_subscription(state: State, params: Params, identifier: str) -> Object:
    """Change a subscription; one that ended keeps everything but its metadata and why it ended."""
    subscription = state.get("subscription", identifier)
    if subscription["status"] in ENDED and not set(params.values) <= {
        *("metadata", "cancellation_details", "expand")
    }:
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    only(
        params,
        *("items", "metadata", "description", "default_payment_method", "trial_settings", "automatic_tax"),
        *("payment_settings", "discounts", "cancellation_details", "cancel_at_period_end", "cancel_at"),
        *("payment_behavior", "proration_behavior", "proration_date", "billing_cycle_anchor"),
        *("trial_end", "off_session"),
    )
    behavior = params.choice("payment_behavior", BEHAVIORS[0], BEHAVIORS)
    if behavior == BEHAVIORS[3] and not set(params.values) <= PENDING_PARAMETERS:
        raise invalid(
            "When payment_behavior is pending_if_incomplete, only these parameters may be given: "
            f"{', '.join(sorted(PENDING_PARAMETERS))}.",
            param="payment_behavior",
        )
    plain = plain_changes(state, params, subscription)
    quoted = quote(state, subscription, params)
    if quoted is None:
        change(state, subscription, **plain)
    else:
        if subscription["status"] == "incomplete":
            raise invalid("The items of an incomplete subscription cannot be changed before it is paid.")
        _make(state, subscription, quoted, behavior, plain)
    if "trial_end" in params:
        _change_trial(state, subscription, params)
    return subscription


def _change_trial(state: State, subscription: Object, params: Params) -> None:
    """End a trial now, or move its end."""
    if subscription["status"] != "trialing":
        if params.text("trial_end") != "now":
            raise invalid("The sandbox starts trials with a subscription only.", param="trial_end")
    elif params.text("trial_end") == "now":
        end_trial(state, subscription, "subscription_update")
    else:
        move_trial_end(state, subscription, future(state, params, "trial_end"))


def quote(state: State, subscription: Object, params: Params) -> Change | None:
    """What the parameters would change about the items, and what that costs; None if nothing."""
    if "items" not in params and params.text("billing_cycle_anchor") in {None, "unchanged"}:
        return None
    after = changed_items(state, subscription, params)
    if any(item["price"]["currency"] != subscription["currency"] for item in after):
        raise invalid(f"The price must be in {subscription['currency']}.", param="items")
    anchor = params.choice("billing_cycle_anchor", "unchanged", ("now", "unchanged"))
    proration = params.choice("proration_behavior", PRORATIONS[0], PRORATIONS)
    moment = check_moment(state, subscription, params.integer("proration_date"))
    return quoted_change(state, subscription, after, proration, moment, resets=anchor == "now")


def quoted_change(
    state: State, subscription: Object, after: list[Object], proration: str, moment: int, *, resets: bool
) -> Change | None:
    """The same for items that are known; another interval begins a new period now."""
    before = items_of(subscription)
    recurring = after[0]["price"]["recurring"]
    resets = resets or not is_same_interval(recurring, before[0]["price"]["recurring"])
    if _terms(before) == _terms(after) and not resets:
        return None
    changes: Object = {"items": item_list(subscription["id"], after)}
    if subscription["status"] in {"trialing", "paused"}:
        return Change(after, [], False, moment, changes)
    _keep_paid(before, after)
    if resets:
        until = period_end(state.now, state.now, recurring)
        set_periods(after, state.now, until)
        if subscription["cancel_at_period_end"]:
            changes["cancel_at"] = until
        unused = [] if proration == "none" else credit_lines(state, subscription, moment)
        changes["billing_cycle_anchor"] = state.now
        return Change(after, [*unused, *period_lines(state, subscription, after)], True, moment, changes)
    lines = [] if proration == "none" else change_lines(state, subscription, moment, before, after)
    return Change(after, lines, proration == "always_invoice" and bool(lines), moment, changes)


def _terms(items: list[Object]) -> list[tuple[str, str, int]]:
    return [(item["id"], item["price"]["id"], item["quantity"]) for item in items]


def _keep_paid(before: list[Object], after: list[Object]) -> None:
    """Let items that stay as they are remember what was paid for them."""
    paid = {entry: item.get("_paid") for entry, item in zip(_terms(before), before, strict=True)}
    for entry, item in zip(_terms(after), after, strict=True):
        if paid.get(entry):
            item["_paid"] = paid[entry]


def _make(state: State, subscription: Object, made: Change, behavior: str, plain: Object) -> None:
    """Make a change: at once, or when its invoice is paid."""
    if subscription.get("_held"):
        drop_held(state, subscription)
    if not made.is_billed_now:
        subscription["_pending_lines"] = [*subscription["_pending_lines"], *made.lines]
        change_items(state, subscription, {**plain, **made.changes})
        return
    is_pending = behavior == "pending_if_incomplete"
    if not is_pending:
        change_items(state, subscription, {**plain, **made.changes})
    invoice = issue(
        state,
        subscription,
        made.lines,
        "subscription_update",
        items=made.items,
        retries=not is_pending,
        period=current_period(subscription),
        proration_date=made.moment,
    )
    if is_pending:
        subscription["_held"] = {"invoice": invoice["id"], "changes": {**plain, **made.changes}}
    if behavior == "default_incomplete":
        finalise(state, invoice)
        return
    refusal = charge(state, subscription, invoice)
    if is_settled(state, invoice):
        return
    if is_pending:
        await_payment(state, subscription, state.now + INCOMPLETE_SECONDS)
    elif behavior == "error_if_incomplete" and refusal is not None:
        refusal.keep = False
        raise refusal


def switch_items(state: State, subscription: Object, items: list[Object], proration: str) -> None:
    """Let other items hold from now on, as a phase of a schedule says."""
    made = quoted_change(state, subscription, items, proration, state.now, resets=False)
    if made is not None:
        _make(state, subscription, made, BEHAVIORS[0], {})
