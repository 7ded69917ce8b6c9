"""Trials: announced to end, ended by the clock or by hand, moved, and what comes after them."""

from app.clients.stripe.sandbox.billing import charge, issue, set_periods
from app.clients.stripe.sandbox.collecting import method_for
from app.clients.stripe.sandbox.due import plan
from app.clients.stripe.sandbox.invoice_lines import period_lines
from app.clients.stripe.sandbox.periods import current_period, items_of, period_end
from app.clients.stripe.sandbox.standing import change, end
from app.clients.stripe.sandbox.state import Object, State, copied


def announce_end(state: State, subscription: Object) -> None:
    """Tell once that a trial is about to end."""
    subscription["_is_end_announced"] = True
    state.emit("customer.subscription.trial_will_end", subscription)


def end_trial(state: State, subscription: Object, reason: str) -> None:
    """End a trial: the first paid period begins, or the subscription pauses or ends without a method."""
    if method_for(state, subscription) is None:
        match subscription["trial_settings"]["end_behavior"]["missing_payment_method"]:
            case "pause":
                subscription.update(status="paused", trial_end=state.now)
                state.emit("customer.subscription.paused", subscription)
                state.emit("customer.subscription.updated", subscription, {"status": "trialing"})
                return
            case "cancel":
                end(state, subscription, "cancellation_requested")
                return
            case _:
                pass
    previous = {
        "items": copied(subscription["items"]),
        "billing_cycle_anchor": subscription["billing_cycle_anchor"],
        "status": "trialing",
    }
    items, period = items_of(subscription), current_period(subscription)
    set_periods(items, state.now, period_end(state.now, state.now, items[0]["price"]["recurring"]))
    subscription.update(billing_cycle_anchor=state.now, status="active", trial_end=state.now)
    lines = period_lines(state, subscription, items)
    invoice = issue(state, subscription, lines, reason, period=period)
    state.emit("customer.subscription.updated", subscription, previous)
    charge(state, subscription, invoice)
    plan(state, subscription)


def move_trial_end(state: State, subscription: Object, moment: int) -> None:
    """Let a trial end at another time."""
    before = copied(subscription["items"])
    set_periods(items_of(subscription), current_period(subscription)[0], moment)
    after, subscription["items"] = subscription["items"], before
    subscription["_is_end_announced"] = False
    changes: Object = {"items": after, "billing_cycle_anchor": moment, "trial_end": moment}
    if subscription["cancel_at_period_end"]:
        changes["cancel_at"] = moment
    change(state, subscription, **changes)
