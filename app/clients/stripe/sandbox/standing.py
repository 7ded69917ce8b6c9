"""The standing of a subscription: active, past due, unpaid, ended, as its invoices fare."""

from app.clients.stripe.sandbox.collecting import (
    ACCEPTED,
    CLOSED,
    EXHAUSTED,
    FAILED,
    PAID,
    stop_collecting,
    void,
)
from app.clients.stripe.sandbox.due import ENDED, plan
from app.clients.stripe.sandbox.invoice_objects import subscription_of
from app.clients.stripe.sandbox.periods import current_period
from app.clients.stripe.sandbox.state import Object, State, shown

DUNNING_ENDS = ("cancel", "unpaid")
"""What becomes of a subscription after its last retry; `settings.dunning_end` of the document says which."""


def change(state: State, subscription: Object, **changes: object) -> None:
    """Change attributes of a subscription, tell of it, and see what is due next."""
    state.update(subscription, "customer.subscription.updated", **changes)
    plan(state, subscription)


def change_items(state: State, subscription: Object, changes: Object) -> None:
    """Let other items hold, for the subscription and for the current phase of its schedule."""
    change(state, subscription, **changes)
    _note_in_schedule(state, subscription, changes["items"]["data"])


def _note_in_schedule(state: State, subscription: Object, items: list[Object]) -> None:
    """Let the current phase of the subscription's schedule have the items that hold now."""
    schedule = state.find("subscription_schedule", subscription["schedule"])
    if schedule is None or schedule["current_phase"] is None:
        return
    for phase in schedule["phases"]:
        if phase["start_date"] == schedule["current_phase"]["start_date"]:
            phase["items"] = [
                {
                    **phase["items"][0],
                    "plan": item["price"]["id"],
                    "price": item["price"]["id"],
                    "quantity": item["quantity"],
                }
                for item in items
            ]


def end(state: State, subscription: Object, reason: str) -> None:
    """End a subscription for good; nothing is charged for it by itself any more."""
    waiting = open_invoices(state, subscription)
    dropped = [
        invoice
        for invoice in waiting
        if subscription["status"] == "incomplete" or is_of_pending_update(subscription, invoice)
    ]
    subscription.update(
        cancel_at_period_end=False,
        canceled_at=subscription["canceled_at"] or state.now,
        cancellation_details={
            **subscription["cancellation_details"],
            "reason": subscription["cancellation_details"]["reason"] or reason,
        },
        ended_at=state.now,
        pending_update=None,
        status="canceled",
        _held=None,
    )
    for invoice in waiting:
        if invoice in dropped:
            void(state, invoice)
        else:
            stop_collecting(invoice)
    schedule = state.find("subscription_schedule", subscription["schedule"])
    if schedule is not None:
        subscription["schedule"] = None
        schedule.update(canceled_at=state.now, current_phase=None, status="canceled")
        state.emit("subscription_schedule.canceled", schedule)
    state.emit("customer.subscription.deleted", subscription)


def expire(state: State, subscription: Object) -> None:
    """Let a subscription whose first payment never came expire."""
    state.update(
        subscription, "customer.subscription.updated", status="incomplete_expired", ended_at=state.now
    )
    for invoice in open_invoices(state, subscription):
        void(state, invoice)


def open_invoices(state: State, subscription: Object) -> list[Object]:
    """The invoices of a subscription that wait to be paid, oldest first."""

    def waits(invoice: Object) -> bool:
        return invoice["status"] == "open" and subscription_of(state, invoice) is subscription

    return list(state.all("invoice", where=waits))[::-1]


def is_of_pending_update(subscription: Object, invoice: Object) -> bool:
    """Whether an invoice is the one that a pending update waits for."""
    held: Object = subscription.get("_held") or {}
    return bool(held.get("invoice") == invoice["id"])


def _on_paid(state: State, invoice: Object) -> None:
    """Let a subscription be in order again; a pending update is applied."""
    subscription = subscription_of(state, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    if is_of_pending_update(subscription, invoice):
        apply_held(state, subscription)
        return
    if subscription["status"] == "paused":
        if subscription.get("_resumes_with") == invoice["id"]:
            subscription.update(status="active", _resumes_with=None)
            state.emit("customer.subscription.resumed", subscription)
            state.emit("customer.subscription.updated", subscription, {"status": "paused"})
            plan(state, subscription)
        return
    _save_method(state, subscription, invoice)
    if subscription["status"] in {"incomplete", "past_due", "unpaid"} and not _owed(state, subscription):
        change(state, subscription, status="active")


def _owed(state: State, subscription: Object) -> bool:
    """Whether an invoice of the subscription was refused and is still to be paid."""
    return any(
        invoice["attempted"] and not is_of_pending_update(subscription, invoice)
        for invoice in open_invoices(state, subscription)
    )


def _on_accepted(state: State, invoice: Object) -> None:
    """Let a subscription be active while its direct debit is under way; should it fail, it is retried."""
    subscription = subscription_of(state, invoice)
    if subscription is None:
        return
    if is_of_pending_update(subscription, invoice):
        apply_held(state, subscription)
    elif subscription["status"] == "incomplete":
        _save_method(state, subscription, invoice)
        change(state, subscription, status="active")
    invoice["_retries"] = True


def _save_method(state: State, subscription: Object, invoice: Object) -> None:
    """Keep the method of the first payment where the subscription asks for it."""
    settings = subscription["payment_settings"]
    if settings["save_default_payment_method"] != "on_subscription":
        return
    paid_with = next(
        (
            intent["payment_method"]
            for intent in state.all(
                "payment_intent", where=lambda item: item.get("_invoice") == invoice["id"]
            )
        ),
        None,
    )
    if paid_with and subscription["default_payment_method"] is None:
        subscription["default_payment_method"] = paid_with


def _on_failed(state: State, invoice: Object) -> None:
    """Let a running subscription be past due."""
    subscription = subscription_of(state, invoice)
    if subscription is None or is_of_pending_update(subscription, invoice):
        return
    if subscription["status"] in {"active", "trialing"}:
        change(state, subscription, status="past_due")


def _on_exhausted(state: State, invoice: Object) -> None:
    """End a subscription, or let it be unpaid, after the last retry."""
    subscription = subscription_of(state, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    if state.document["settings"].get("dunning_end", DUNNING_ENDS[0]) == "unpaid":
        change(state, subscription, status="unpaid")
    else:
        end(state, subscription, "payment_failed")


def await_payment(state: State, subscription: Object, expires_at: int) -> None:
    """Show the change that is held back as a pending update, until it is paid or the time is over."""
    changes = subscription["_held"]["changes"]
    change(
        state,
        subscription,
        pending_update={
            "billing_cycle_anchor": changes.get("billing_cycle_anchor"),
            "expires_at": expires_at,
            "subscription_items": shown(changes["items"]["data"]),
            "trial_end": None,
            "trial_from_plan": None,
        },
    )


def apply_held(state: State, subscription: Object) -> None:
    """Let a change that was paid for come true; a period that ended meanwhile stays the present one."""
    changes = subscription["_held"]["changes"]
    subscription["_held"] = None
    start, until = current_period(subscription)
    if "billing_cycle_anchor" not in changes:
        for item in changes["items"]["data"]:
            item.update(current_period_start=start, current_period_end=until)
    was_pending = subscription["pending_update"] is not None
    change_items(state, subscription, {**changes, "pending_update": None})
    if was_pending:
        state.emit("customer.subscription.pending_update_applied", subscription)


def drop_held(state: State, subscription: Object) -> None:
    """Give a pending update up, and its invoice."""
    invoice = state.find("invoice", subscription["_held"]["invoice"])
    was_pending = subscription["pending_update"] is not None
    subscription["_held"] = None
    if invoice is not None and invoice["status"] == "open":
        void(state, invoice)
    if was_pending:
        state.update(subscription, "customer.subscription.updated", pending_update=None)
        state.emit("customer.subscription.pending_update_expired", subscription)
    plan(state, subscription)


def _on_closed(state: State, invoice: Object) -> None:
    """Nothing is owed for an invoice that is void or written off: the subscription goes on, or expires."""
    subscription = subscription_of(state, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    if is_of_pending_update(subscription, invoice):
        drop_held(state, subscription)
    elif subscription["status"] == "incomplete":
        expire(state, subscription)
    elif subscription["status"] in {"past_due", "unpaid"} and not _owed(state, subscription):
        change(state, subscription, status="active")


PAID.append(_on_paid)
ACCEPTED.append(_on_accepted)
FAILED.append(_on_failed)
EXHAUSTED.append(_on_exhausted)
CLOSED.append(_on_closed)
