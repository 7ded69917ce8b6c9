"""Credit notes: what an invoice asked too much, refunded, kept as a balance, or not asked any more."""

from app.clients.stripe.sandbox.collecting import mark_paid
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.invoice_lines import TAX_PERCENT, tax_entry
from app.clients.stripe.sandbox.invoice_objects import intent_of
from app.clients.stripe.sandbox.periods import quantity_of
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.refunds import give_back
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id
from app.clients.stripe.sandbox.views import listed
from app.core.money import half_up

REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
LINE_TYPES = ("invoice_line_item", "custom_line_item")


@route("POST", "/v1/credit_notes", "CreditNoteCreateParams")
def create_credit_note(state: State, params: Params) -> Object:
    """A credit note of an amount or of lines; on a paid invoice it says how the amount is given back."""
    only(
        params,
        *("invoice", "amount", "lines", "refund_amount", "credit_amount", "out_of_band_amount"),
        *("reason", "memo", "metadata"),
    )
    invoice = state.get("invoice", params.need("invoice"), "invoice")
    if invoice["status"] not in {"open", "paid"}:
        raise invalid("Credit notes are for invoices that are open or paid.", param="invoice")
    lines = _lines(invoice, params)
    total = sum(line["amount"] for line in lines)
    left = invoice["total"] - _credited(invoice)
    if total > left:
        raise invalid(
            f"The credit note amount is above what is left of the invoice ({left}).", param="amount"
        )
    if any(not 1 <= line["amount"] <= left for line in lines):
        raise invalid("The amount of each line must be positive, and not above the invoice.", param="amount")
    note = _note(state, params, invoice, lines, total)
    if invoice["status"] == "open":
        _ask_less(state, invoice, note)
    else:
        _give_back(state, params, invoice, note)
    state.emit("credit_note.created", note)
    state.emit("invoice.updated", invoice)
    return note


def _credited(invoice: Object) -> int:
    """What earlier credit notes took off."""
    return int(invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"])


def _lines(invoice: Object, params: Params) -> list[Object]:
    """The lines of a note; a bare amount is one line."""
    amount = params.integer("amount")
    if amount is not None:
        return [_line("custom_line_item", amount, "Credit", 1, None)]
    by_id = {line["id"]: line for line in invoice["lines"]["data"]}
    lines = []
    for given in params.hashes("lines"):
        kind = given.choice("type", given.need("type"), LINE_TYPES)
        quantity = quantity_of(given)
        if kind == "custom_line_item":
            text = given.need("description")
            lines.append(_line(kind, given.need_integer("unit_amount") * quantity, text, quantity, None))
            continue
        source = by_id.get(given.need("invoice_line_item"))
        if source is None:
            raise invalid("No such line on this invoice.", param=given.name("invoice_line_item"))
        taken = given.number("amount", source["amount"])
        lines.append(_line(kind, taken, source["description"], quantity, source["id"]))
    if not lines:
        raise required("amount")
    return lines


def _line(kind: str, amount: int, description: str, quantity: int, source: str | None) -> Object:
    line: Object = {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": kind,
        "unit_amount": None,
        "unit_amount_decimal": None,
    }
    if source is not None:
        line["invoice_line_item"] = source
    return line


def _note(state: State, params: Params, invoice: Object, lines: list[Object], total: int) -> Object:
    tax = half_up(total * TAX_PERCENT, 100 + TAX_PERCENT) if invoice["total_taxes"] else 0
    number = f"{invoice['number']}-CN-{state.number(invoice['id']):02d}"
    reason = params.choice("reason", REASONS[0], REASONS) if "reason" in params else None
    note = state.create(
        "credit_note",
        "cn",
        amount=total,
        amount_shipping=0,
        currency=invoice["currency"],
        customer=invoice["customer"],
        customer_balance_transaction=None,
        discount_amount=0,
        discount_amounts=[],
        effective_at=state.now,
        invoice=invoice["id"],
        memo=params.text("memo"),
        metadata=params.metadata(),
        number=number,
        out_of_band_amount=None,
        pdf=invoice["invoice_pdf"],
        post_payment_amount=0,
        pre_payment_amount=0,
        pretax_credit_amounts=[],
        reason=reason,
        refunds=[],
        shipping_cost=None,
        status="issued",
        subtotal=total,
        subtotal_excluding_tax=total - tax,
        total=total,
        total_excluding_tax=total - tax,
        total_taxes=[tax_entry(tax, total - tax, "inclusive")] if invoice["total_taxes"] else [],
        type="pre_payment",
        voided_at=None,
    )
    note["lines"] = listed(f"/v1/credit_notes/{note['id']}/lines", lines)
    return note


def _ask_less(state: State, invoice: Object, note: Object) -> None:
    """Take the amount off an open invoice; one of which nothing remains is paid."""
    total = note["total"]
    note.update(pre_payment_amount=total, type="pre_payment")
    invoice["pre_payment_credit_notes_amount"] += total
    due = max(0, invoice["amount_due"] - total)
    invoice.update(amount_due=due, amount_remaining=due)
    intent = intent_of(state, invoice)
    if due == 0:
        mark_paid(state, invoice, is_out_of_band=True)
    elif intent is not None:
        intent["amount"] = due


def _give_back(state: State, params: Params, invoice: Object, note: Object) -> None:
    """Refund an amount, add one to the customer's balance, or note that it was paid otherwise."""
    refunded, credited = params.number("refund_amount", 0), params.number("credit_amount", 0)
    elsewhere = params.number("out_of_band_amount", 0)
    if not refunded and not credited and not elsewhere:
        credited = note["total"]
    if refunded + credited + elsewhere != note["total"] or min(refunded, credited, elsewhere) < 0:
        raise invalid("The sum of credit, refund and out of band amount must equal the credit note amount.")
    note.update(post_payment_amount=note["total"], type="post_payment", out_of_band_amount=elsewhere or None)
    invoice["post_payment_credit_notes_amount"] += note["total"]
    if refunded:
        note["refunds"] = [
            {"amount_refunded": refunded, "refund": _refund(state, invoice, refunded), "type": "refund"}
        ]
    if credited:
        customer = state.get("customer", invoice["customer"])
        note["customer_balance_transaction"] = new_id("cbtxn")
        state.update(customer, "customer.updated", balance=customer["balance"] - credited)


def _refund(state: State, invoice: Object, amount: int) -> str:
    """Refund a part of the payment of an invoice; the id of the refund."""
    intent = intent_of(state, invoice)
    charge = state.find("charge", intent["latest_charge"]) if intent else None
    if charge is None or charge["amount"] - charge["amount_refunded"] < amount:
        raise invalid("The payment of this invoice has less left to refund.", param="refund_amount")
    return str(give_back(state, charge, amount, None, {})["id"])


retrievable("credit_note", "/v1/credit_notes", "CreditNoteRetrieveParams")
listable("credit_note", "/v1/credit_notes", "CreditNoteListParams", customer="customer", invoice="invoice")
