"""Invoices: read, paid, voided, written off; their payments are listed apart."""

from app.clients.stripe.sandbox.collecting import collect, finalise, mark_paid, method_for, void, write_off
from app.clients.stripe.sandbox.errors import SandboxError, invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.invoice_objects import intent_of, subscription_of
from app.clients.stripe.sandbox.payment_intents import OPEN
from app.clients.stripe.sandbox.payment_methods import attach_to, usable_method
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.views import page

PAYABLE = ("draft", "open", "uncollectible")


def _is_of(invoice: Object, subscription_id: str) -> bool:
    parent = invoice["parent"]
    return bool(parent) and parent["subscription_details"]["subscription"] == subscription_id


@route("POST", "/v1/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams")
def finalise_invoice(state: State, _: Params, identifier: str) -> Object:
    """Make an open invoice of a draft; nothing is charged by that."""
    invoice = state.get("invoice", identifier)
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    finalise(state, invoice)
    return invoice


@route("POST", "/v1/invoices/{id}/pay", "InvoicePayParams")
def pay_invoice(state: State, params: Params, identifier: str) -> Object:
    """Charge an invoice now, with a method that is named or the default; a refusal is raised and kept."""
    only(params, "payment_method", "off_session", "paid_out_of_band")
    invoice = state.get("invoice", identifier)
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid")
    if invoice["status"] not in PAYABLE:
        raise invalid(f"You cannot pay an invoice that is {invoice['status']}.")
    if invoice["status"] == "draft":
        finalise(state, invoice)
    if params.boolean("paid_out_of_band"):
        mark_paid(state, invoice, is_out_of_band=True)
        return invoice
    intent = intent_of(state, invoice)
    if intent is None:
        return invoice
    if intent["status"] not in OPEN:
        raise invalid("A payment of this invoice is under way.", code="invoice_payment_pending")
    if refusal := collect(state, invoice, _method(state, params, invoice), is_automatic=False):
        raise refusal
    return invoice


def _method(state: State, params: Params, invoice: Object) -> Object:
    """The method to pay with, which becomes one of the customer."""
    if named := params.text("payment_method"):
        return attach_to(state, usable_method(state, named), invoice["customer"])
    subscription = subscription_of(state, invoice)
    method = method_for(state, subscription) if subscription else None
    if method is None:
        raise SandboxError(
            400,
            "invalid_request_error",
            "There is no `default_payment_method` set on this Customer or Invoice.",
            code="resource_missing",
        )
    return method


@route("POST", "/v1/invoices/{id}/void", "InvoiceVoidInvoiceParams")
def void_invoice(state: State, _: Params, identifier: str) -> Object:
    """Cancel an open invoice."""
    invoice = _unpaid(state, identifier, ("open", "uncollectible"))
    void(state, invoice)
    return invoice


@route("POST", "/v1/invoices/{id}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(state: State, _: Params, identifier: str) -> Object:
    """Give an open invoice up."""
    invoice = _unpaid(state, identifier, ("open",))
    write_off(state, invoice)
    return invoice


def _unpaid(state: State, identifier: str, statuses: tuple[str, ...]) -> Object:
    invoice = state.get("invoice", identifier)
    if invoice["status"] not in statuses:
        raise invalid(f"You can only do this to an invoice that is {' or '.join(statuses)}.")
    return invoice


retrievable("invoice", "/v1/invoices", "InvoiceRetrieveParams")
listable(
    "invoice",
    "/v1/invoices",
    "InvoiceListParams",
    customer="customer",
    status="status",
    collection_method="collection_method",
    subscription=_is_of,
)


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams")
def list_payments(state: State, params: Params) -> Object:
    """The payments of invoices, by invoice, intent and status."""
    invoice, status = params.text("invoice"), params.text("status")
    intent = params.hash("payment").text("payment_intent")

    def fits(item: Object) -> bool:
        return (
            invoice in (None, item["invoice"])
            and status in (None, item["status"])
            and intent in (None, item["payment"]["payment_intent"])
        )

    return page(params, "/v1/invoice_payments", state.all("invoice_payment", where=fits))


retrievable("invoice_payment", "/v1/invoice_payments", "InvoicePaymentRetrieveParams")
