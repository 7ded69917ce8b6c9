"""Invoices as objects: drafts of their lines, and the payments that they wait for."""

from app.clients.stripe.sandbox.coupons import running, use
from app.clients.stripe.sandbox.invoice_lines import add_taxes, take_discounts, totals_of
from app.clients.stripe.sandbox.state import Object, State, copied, new_id
from app.clients.stripe.sandbox.tax_ids import printed_tax_ids
from app.clients.stripe.sandbox.views import includable, listed
from app.core.currencies import CURRENCIES

UNCHARGED = 50
"""The smallest charge where the currency has none of its own."""


NOTHING_YET = (
    "account_tax_ids",
    "application",
    "automatically_finalizes_at",
    "custom_fields",
    "default_payment_method",
    "default_source",
    "due_date",
    "effective_at",
    "footer",
    "from_invoice",
    "hosted_invoice_url",
    "invoice_pdf",
    "last_finalization_error",
    "latest_revision",
    "next_payment_attempt",
    "number",
    "on_behalf_of",
    "receipt_number",
    "rendering",
    "shipping_cost",
    "shipping_details",
    "statement_descriptor",
    "test_clock",
    "webhooks_delivered_at",
)
"""What a draft has no value for."""

BLANK: Object = {
    **dict.fromkeys(NOTHING_YET),
    "account_country": "FR",
    "account_name": "Luneo",
    "amount_overpaid": 0,
    "amount_paid": 0,
    "amount_shipping": 0,
    "attempt_count": 0,
    "attempted": False,
    "auto_advance": True,
    "collection_method": "charge_automatically",
    "default_tax_rates": [],
    "issuer": {"type": "self"},
    "livemode": False,
    "metadata": {},
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": None,
    },
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "status": "draft",
    "status_transitions": {
        "finalized_at": None,
        "marked_uncollectible_at": None,
        "paid_at": None,
        "voided_at": None,
    },
    "_retries": False,
}
"""What is alike in all drafts."""


def draft_invoice(
    state: State,
    subscription: Object,
    lines: list[Object],
    reason: str,
    *,
    discounts: list[str] | None = None,
    proration_date: int | None = None,
    prefix: str = "in",
) -> Object:
    """A draft with its lines, discounts, taxes and sums; it is not kept yet."""
    customer = state.get("customer", subscription["customer"])
    named = subscription["discounts"] if discounts is None else discounts
    counted = running(state, named, state.now)
    take_discounts(state, lines, counted)
    is_taxed = subscription["automatic_tax"]["enabled"]
    if is_taxed:
        add_taxes(lines)
    identifier = new_id(prefix)
    for line in lines:
        line["invoice"] = identifier
    totals = totals_of(lines)
    details: Object = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    if proration_date is not None:
        details["subscription_proration_date"] = proration_date
    return {
        "id": identifier,
        "object": "invoice",
        **copied(BLANK),
        **_customer_part(state, customer),
        **totals,
        **balanced(customer, totals["total"], subscription["currency"]),
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": is_taxed,
            "liability": {"type": "self"} if is_taxed else None,
            "provider": "stripe" if is_taxed else None,
            "status": "complete" if is_taxed else None,
        },
        "billing_reason": reason,
        "created": state.now,
        "currency": subscription["currency"],
        "description": subscription["description"],
        "discounts": [item["id"] for item in counted],
        "lines": {**listed(f"/v1/invoices/{identifier}/lines", lines), "total_count": len(lines)},
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        "period_end": state.now,
        "period_start": state.now,
    }


def _customer_part(state: State, customer: Object) -> Object:
    """What an invoice copies of its customer."""
    return {
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": printed_tax_ids(state, customer["id"]),
    }


def balanced(customer: Object, total: int, currency: str) -> Object:
    """What is due of a total with the customer's balance, and what the balance is then.

    Credits are used up first; a rest below the smallest charge is owed until the next invoice.
    """
    start = customer["balance"]
    after = total + start
    due, end = (after, 0) if after > 0 else (0, after)
    known = CURRENCIES.get(currency.upper())
    least = (known.stripe_minimum if known else None) or UNCHARGED
    if 0 < due < least:
        due, end = 0, due
    return {"amount_due": due, "amount_remaining": due, "starting_balance": start, "ending_balance": end}


def keep_invoice(state: State, subscription: Object, invoice: Object) -> Object:
    """Let a draft be an invoice of the subscription, its latest."""
    state.objects[invoice["id"]] = invoice
    use(state.get("discount", identifier) for identifier in invoice["discounts"])
    subscription["latest_invoice"] = invoice["id"]
    state.emit("invoice.created", invoice)
    return invoice


def subscription_of(state: State, invoice: Object) -> Object | None:
    """The subscription that an invoice is for."""
    parent = invoice["parent"]
    return state.find("subscription", parent["subscription_details"]["subscription"]) if parent else None


def new_payment(state: State, invoice: Object, intent: Object) -> Object:
    """The link of an invoice and the intent that is to pay it."""
    payment = state.create(
        "invoice_payment",
        "inpay",
        amount_paid=None,
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"payment_intent": intent["id"], "type": "payment_intent"},
        status="open",
        status_transitions={"canceled_at": None, "paid_at": None},
    )
    del payment["metadata"]
    return payment


def payment_of(state: State, invoice: Object) -> Object | None:
    """The payment of an invoice that is made by an intent."""
    return next(state.all("invoice_payment", where=lambda item: item["invoice"] == invoice["id"]), None)


def intent_of(state: State, invoice: Object) -> Object | None:
    """The intent that is to pay an invoice, or did."""
    payment = payment_of(state, invoice)
    return state.find("payment_intent", payment["payment"]["payment_intent"]) if payment else None


@includable("invoice", "payments")
def _payments(state: State, invoice: Object) -> Object:
    found = state.all("invoice_payment", where=lambda item: item["invoice"] == invoice["id"])
    return listed("/v1/invoice_payments", list(found))


@includable("invoice", "confirmation_secret")
def _confirmation_secret(state: State, invoice: Object) -> Object | None:
    intent = intent_of(state, invoice)
    if intent is None:
        return None
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}
