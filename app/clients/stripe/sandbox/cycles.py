"""What time does to a subscription, in the order in which Stripe does it."""

from app.clients.stripe.sandbox.billing import next_lines, renew
from app.clients.stripe.sandbox.clock import timer
from app.clients.stripe.sandbox.collecting import collect, method_for, void
from app.clients.stripe.sandbox.due import (
    ENDED,
    INCOMPLETE_SECONDS,
    NOTICE_SECONDS,
    RENEWING,
    TIMER,
    UPCOMING_SECONDS,
    is_announced,
    phase_ends_at,
    plan,
)
from app.clients.stripe.sandbox.invoice_objects import draft_invoice, subscription_of
from app.clients.stripe.sandbox.periods import current_period, items_of
from app.clients.stripe.sandbox.phases import leave_phase
from app.clients.stripe.sandbox.standing import drop_held, end, expire
from app.clients.stripe.sandbox.state import Object, State, copied
from app.clients.stripe.sandbox.trials import announce_end, end_trial


@timer(TIMER)
def _step(state: State, subscription_id: str) -> None:
    """Do whatever is due for a subscription, and set the timer of what follows."""
    subscription = state.get("subscription", subscription_id)
    due_at = subscription.get("_due_at")
    if due_at is not None and due_at > state.now:
        # This timer was set before something was put off; the present one is still to come.
        return
    subscription["_due_at"] = None
    if subscription["status"] == "incomplete":
        if subscription["created"] + INCOMPLETE_SECONDS <= state.now:
            expire(state, subscription)
    elif subscription["status"] not in ENDED:
        _step_running(state, subscription)
    plan(state, subscription)


def _step_running(state: State, subscription: Object) -> None:
    pending = subscription["pending_update"]
    if pending is not None and pending["expires_at"] <= state.now:
        drop_held(state, subscription)
    # A schedule is over before its subscription ends, so that it counts as completed.
    phase_end = phase_ends_at(state, subscription)
    if phase_end is not None and phase_end <= state.now:
        leave_phase(state, subscription)
    if subscription["status"] in ENDED:
        return
    if subscription["cancel_at"] is not None and subscription["cancel_at"] <= state.now:
        end(state, subscription, "cancellation_requested")
    elif subscription["status"] == "trialing":
        if subscription["trial_end"] <= state.now:
            end_trial(state, subscription, "subscription_cycle")
        elif (
            not subscription["_is_end_announced"] and subscription["trial_end"] - NOTICE_SECONDS <= state.now
        ):
            announce_end(state, subscription)
    elif subscription["status"] in RENEWING:
        _step_period(state, subscription)


def _step_period(state: State, subscription: Object) -> None:
    """Announce a renewal, or make it."""
    until = current_period(subscription)[1]
    if until <= state.now:
        renew(state, subscription)
    elif is_announced(subscription) and until - UPCOMING_SECONDS <= state.now:
        subscription["_announced_end"] = until
        state.emit("invoice.upcoming", upcoming(state, subscription, items_of(subscription)))


def upcoming(
    state: State,
    subscription: Object,
    items: list[Object],
    extra: list[Object] | None = None,
    *,
    discounts: list[str] | None = None,
) -> Object:
    """The next invoice as it would be today: the next period, and what is left for it."""
    until = current_period(subscription)[1]
    lines = [*copied(subscription["_pending_lines"]), *(extra or [])]
    lines += next_lines(state, subscription, items, until)
    invoice = draft_invoice(state, subscription, lines, "upcoming", discounts=discounts, prefix="upcoming_in")
    start = current_period(subscription)[0]
    invoice.update(created=until, next_payment_attempt=until, period_start=start, period_end=until)
    return invoice


@timer("invoice_retries")
def _retry(state: State, invoice_id: str) -> None:
    """Charge an invoice once more that was refused."""
    invoice = state.get("invoice", invoice_id)
    subscription = subscription_of(state, invoice)
    attempt_at = invoice["next_payment_attempt"]
    is_due = invoice["status"] == "open" and attempt_at is not None and attempt_at <= state.now
    if subscription is None or subscription["status"] in ENDED or not is_due:
        return
    collect(state, invoice, method_for(state, subscription))


@timer("resumption_lapses")
def _lapse(state: State, subscription_id: str) -> None:
    """Void the invoice of a resumption that nobody paid: the subscription stays paused."""
    subscription = state.get("subscription", subscription_id)
    invoice = state.find("invoice", subscription.get("_resumes_with"))
    subscription["_resumes_with"] = None
    if invoice is not None and invoice["status"] == "open":
        void(state, invoice)
