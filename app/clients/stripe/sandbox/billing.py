"""Billing a subscription: its invoices issued and charged, at its start, at each renewal and in between."""

from app.clients.stripe.sandbox.collecting import collect, finalise, method_for
from app.clients.stripe.sandbox.coupons import running
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.invoice_lines import period_lines
from app.clients.stripe.sandbox.invoice_objects import draft_invoice, keep_invoice
from app.clients.stripe.sandbox.periods import current_period, is_same_interval, items_of, period_end
from app.clients.stripe.sandbox.proration import note_paid
from app.clients.stripe.sandbox.state import Object, State, copied


def issue(
    state: State,
    subscription: Object,
    lines: list[Object],
    reason: str,
    *,
    items: list[Object] | None = None,
    retries: bool = True,
    period: tuple[int, int] | None = None,
    proration_date: int | None = None,
) -> Object:
    """A draft of these lines and of what was left for the next invoice; `items` are those that it bills."""
    left: list[Object] = subscription["_pending_lines"]
    subscription["_pending_lines"] = []
    invoice = draft_invoice(state, subscription, [*left, *lines], reason, proration_date=proration_date)
    note_paid(items_of(subscription) if items is None else items, lines)
    invoice["_retries"] = retries
    if period is not None:
        invoice.update(period_start=period[0], period_end=period[1])
    keep_invoice(state, subscription, invoice)
    subscription["discounts"] = [item["id"] for item in running(state, subscription["discounts"], state.now)]
    return invoice


def charge(
    state: State, subscription: Object, invoice: Object, *, is_authenticated: bool = False
) -> SandboxError | None:
    """Finalise a draft and charge it; return the refusal of the payment, if there is one."""
    finalise(state, invoice)
    method = method_for(state, subscription)
    return collect(state, invoice, method, is_authenticated=is_authenticated)


def is_settled(state: State, invoice: Object) -> bool:
    """Whether an invoice is paid, or a direct debit for it is under way."""
    if invoice["status"] == "paid":
        return True
    return any(
        intent["status"] == "processing"
        for intent in state.all("payment_intent", where=lambda item: item.get("_invoice") == invoice["id"])
    )


def set_periods(items: list[Object], start: int, end: int) -> None:
    """Let items be billed for this period."""
    for item in items:
        item.update(current_period_start=start, current_period_end=end)


def renew(state: State, subscription: Object) -> None:
    """Begin the next period: its invoice is made and charged; an unpaid subscription only gets drafts."""
    start, end = current_period(subscription)
    previous = {"items": copied(subscription["items"]), "latest_invoice": subscription["latest_invoice"]}
    items = items_of(subscription)
    recurring = items[0]["price"]["recurring"]
    set_periods(items, end, period_end(end, subscription["billing_cycle_anchor"], recurring))
    lines = period_lines(state, subscription, items)
    invoice = issue(state, subscription, lines, "subscription_cycle", period=(start, end))
    if subscription["status"] == "unpaid":
        invoice.update(auto_advance=False, _retries=False)
        state.emit("customer.subscription.updated", subscription, previous)
        return
    state.emit("customer.subscription.updated", subscription, previous)
    charge(state, subscription, invoice)


def next_lines(state: State, subscription: Object, items: list[Object], start: int) -> list[Object]:
    """The lines of the period that begins at `start`, as they would be today."""
    following: list[Object] = copied(items)
    anchor = subscription["billing_cycle_anchor"]
    if subscription["status"] == "trialing":
        anchor = subscription["trial_end"]
    recurring = following[0]["price"]["recurring"]
    if not is_same_interval(recurring, items_of(subscription)[0]["price"]["recurring"]):
        anchor = start
    set_periods(following, start, period_end(start, anchor, recurring))
    return period_lines(state, subscription, following)
