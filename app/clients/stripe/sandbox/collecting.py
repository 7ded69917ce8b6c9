"""Collecting invoices: finalised, charged, paid, refused, voided; who is told of each outcome."""

from collections.abc import Callable

from app.clients.stripe.sandbox.errors import SandboxError, invalid
from app.clients.stripe.sandbox.invoice_objects import balanced, intent_of, new_payment, payment_of
from app.clients.stripe.sandbox.paying import attempt, cancel_intent, when_settled
from app.clients.stripe.sandbox.payment_intents import OPEN, new_intent
from app.clients.stripe.sandbox.state import DAY, Object, State, shown

RETRY_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)
"""How long after each refused attempt the next one follows."""

Told = Callable[[State, Object], None]

PAID: list[Told] = []
ACCEPTED: list[Told] = []
"""Who is told that a direct debit is under way, so that the subscription counts as paid for now."""
FAILED: list[Told] = []
EXHAUSTED: list[Told] = []
"""Who is told that the last retry was refused."""
CLOSED: list[Told] = []
"""Who is told that an invoice will not be paid: void or uncollectible."""


def _tell(listeners: list[Told], state: State, invoice: Object) -> None:
    for listener in listeners:
        listener(state, invoice)


def finalise(state: State, invoice: Object) -> None:
    """Give a draft its number and its intent; an invoice of nothing is paid at once."""
    customer = state.get("customer", invoice["customer"])
    invoice.update(balanced(customer, invoice["total"], invoice["currency"]))
    changes: Object = {
        "balance": invoice["ending_balance"],
        "currency": invoice["currency"],
        "next_invoice_sequence": customer["next_invoice_sequence"] + 1,
    }
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    state.update(customer, "customer.updated", **changes)
    page = f"{state.base_url}/invoices/{invoice['id']}"
    invoice.update(
        effective_at=state.now,
        hosted_invoice_url=page,
        invoice_pdf=f"{page}.pdf",
        number=number,
        status="open",
        status_transitions={**invoice["status_transitions"], "finalized_at": state.now},
    )
    if invoice["amount_due"] > 0:
        intent = new_intent(
            state,
            amount=invoice["amount_due"],
            currency=invoice["currency"],
            customer=invoice["customer"],
            metadata={},
            description=f"Invoice {number}",
            setup_future_usage="off_session",
        )
        intent["_invoice"] = invoice["id"]
        new_payment(state, invoice, intent)
    state.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(state, invoice)


def collect(
    state: State,
    invoice: Object,
    method: Object | None,
    *,
    is_automatic: bool = True,
    is_authenticated: bool = False,
) -> SandboxError | None:
    """Charge an open invoice; return the refusal, if there is one that a caller is told at once."""
    intent = intent_of(state, invoice)
    if intent is None or intent["status"] not in OPEN:
        return None
    invoice["attempted"] = True
    if is_automatic:
        invoice.update(attempt_count=invoice["attempt_count"] + 1, next_payment_attempt=None)
    else:
        invoice["attempt_count"] = max(1, invoice["attempt_count"])
    if method is None:
        _fail(state, invoice)
        return invalid(
            "This customer has no attached payment source or default payment method.",
            code="resource_missing",
        )
    if is_authenticated:
        intent["_authenticated"] = True
    refusal = attempt(state, intent, method)
    if intent["status"] == "requires_action":
        state.emit("invoice.payment_action_required", invoice)
        _fail(state, invoice)
        return SandboxError(
            402,
            "card_error",
            "Payment for this invoice requires additional user action before it can be completed.",
            keep=True,
            code="invoice_payment_intent_requires_action",
            payment_intent=shown(intent),
        )
    if intent["status"] == "processing":
        _tell(ACCEPTED, state, invoice)
    return refusal


@when_settled
def _settle(state: State, intent: Object) -> None:
    """Let an invoice follow its intent."""
    invoice = state.find("invoice", intent.get("_invoice"))
    if invoice is None or invoice["status"] not in {"open", "uncollectible"}:
        return
    if intent["status"] == "succeeded":
        mark_paid(state, invoice)
    elif intent["status"] == "requires_payment_method":
        _fail(state, invoice)


def mark_paid(state: State, invoice: Object, *, is_out_of_band: bool = False) -> None:
    """Let an invoice be paid, and tell of it."""
    paid_at = {**invoice["status_transitions"], "paid_at": state.now}
    due = invoice["amount_due"]
    state.update(
        invoice,
        "invoice.updated",
        amount_paid=due,
        amount_remaining=0,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status="paid",
        status_transitions=paid_at,
    )
    payment = payment_of(state, invoice)
    if payment is not None and not is_out_of_band:
        transitions = {**payment["status_transitions"], "paid_at": state.now}
        payment.update(amount_paid=due, status="paid", status_transitions=transitions)
        state.emit("invoice_payment.paid", payment)
    elif payment is not None:
        _cancel_payment(state, invoice)
    customer = state.find("customer", invoice["customer"])
    if customer is not None:
        state.update(customer, "customer.updated", delinquent=False)
    state.emit("invoice.paid", invoice)
    state.emit("invoice.payment_succeeded", invoice)
    _tell(PAID, state, invoice)


def _fail(state: State, invoice: Object) -> None:
    """Note that an attempt was refused; `_retries` says whether others follow by themselves."""
    is_last = False
    if invoice["_retries"] and invoice["next_payment_attempt"] is None:
        made = invoice["attempt_count"]
        if made <= len(RETRY_AFTER):
            following = state.now + RETRY_AFTER[max(made, 1) - 1]
            invoice["next_payment_attempt"] = following
            state.schedule(following, "invoice_retries", invoice["id"])
        else:
            is_last = True
            stop_collecting(invoice)
    customer = state.find("customer", invoice["customer"])
    if customer is not None:
        state.update(customer, "customer.updated", delinquent=True)
    state.emit("invoice.updated", invoice)
    state.emit("invoice.payment_failed", invoice)
    _tell(FAILED, state, invoice)
    if is_last:
        _tell(EXHAUSTED, state, invoice)


def stop_collecting(invoice: Object) -> None:
    """Let nobody charge an invoice by itself any more; it can still be paid."""
    invoice.update(auto_advance=False, next_payment_attempt=None, _retries=False)


def void(state: State, invoice: Object) -> None:
    """Cancel an invoice that is not paid; what it took of the customer's balance is given back."""
    customer = state.find("customer", invoice["customer"])
    if customer is not None:
        given_back = invoice["starting_balance"] - invoice["ending_balance"]
        state.update(customer, "customer.updated", balance=customer["balance"] + given_back)
    transitions = {**invoice["status_transitions"], "voided_at": state.now}
    _close(state, invoice, status="void", status_transitions=transitions, amount_remaining=0)
    state.emit("invoice.voided", invoice)
    _tell(CLOSED, state, invoice)


def write_off(state: State, invoice: Object) -> None:
    """Give an invoice up as uncollectible."""
    transitions = {**invoice["status_transitions"], "marked_uncollectible_at": state.now}
    stop_collecting(invoice)
    invoice.update(status="uncollectible", status_transitions=transitions)
    state.emit("invoice.marked_uncollectible", invoice)
    _tell(CLOSED, state, invoice)


def _close(state: State, invoice: Object, **changes: object) -> None:
    # The invoice closes first: its intent's end is no refusal of a payment then.
    stop_collecting(invoice)
    invoice.update(changes)
    _cancel_payment(state, invoice)


def _cancel_payment(state: State, invoice: Object) -> None:
    """Let the intent of an invoice charge nobody any more."""
    payment, intent = payment_of(state, invoice), intent_of(state, invoice)
    if payment is None or intent is None or payment["status"] != "open":
        return
    transitions = {**payment["status_transitions"], "canceled_at": state.now}
    payment.update(status="canceled", status_transitions=transitions)
    if intent["status"] in (*OPEN, "processing"):
        cancel_intent(state, intent, "void_invoice")


def method_for(state: State, subscription: Object) -> Object | None:
    """What a subscription is paid with: its own method, else the customer's default."""
    customer = state.get("customer", subscription["customer"])
    named = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    return state.find("payment_method", named)
