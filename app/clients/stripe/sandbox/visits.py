"""What a browser does on the sandbox's pages: each form, and where it leads."""

import io

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.controls import run_control
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.pages import (
    Page,
    authenticate_page,
    checkout_page,
    invoice_page,
    money,
    portal_page,
)
from app.clients.stripe.sandbox.routing import dispatch
from app.clients.stripe.sandbox.state import State


def see_checkout(state: State, session_id: str) -> Page:
    """The page of a session."""
    return checkout_page(state.get("checkout.session", session_id))


def choose_outcome(state: State, session_id: str, outcome: str) -> Page:
    """Press a button of a session's page: success leads to the shop, a refusal back to the page."""
    session = state.get("checkout.session", session_id)
    if session["status"] != "open":
        return checkout_page(session)
    try:
        complete(state, session_id, outcome)
    except SandboxError as refusal:
        if not refusal.keep:
            raise
        # A refused subscription was undone, so the session is another object than before.
        return checkout_page(state.get("checkout.session", session_id), str(refusal))
    target = (session["success_url"] or "").replace("{CHECKOUT_SESSION_ID}", session_id)
    return Page(303, location=target or f"/sandbox/stripe/checkout/{session_id}")


def see_authentication(state: State, intent_id: str) -> Page:
    """The bank's question about an intent."""
    intent = state.find("payment_intent", intent_id) or state.get("setup_intent", intent_id)
    is_over = "" if intent["status"] == "requires_action" else f"There is nothing to do: {intent['status']}."
    return authenticate_page(is_over)


def answer_authentication(state: State, intent_id: str, passes: str) -> Page:
    """Answer the bank; the browser goes back to where the intent came from."""
    run_control(state, f"authenticate/{intent_id}", {"passes": passes})
    return Page(303, location=state.objects[intent_id].get("_return_url") or "/sandbox/stripe/")


def see_portal(state: State, portal_id: str) -> Page:
    """The portal of a customer."""
    return portal_page(state, state.get("billing_portal.session", portal_id))


def act_in_portal(state: State, portal_id: str, form: dict[str, str]) -> Page:
    """Cancel, resume or change the method; then the portal is shown again."""
    portal = state.get("billing_portal.session", portal_id)
    customer = portal["customer"]
    try:
        if form.get("act") == "update_method":
            method = form.get("method", "pm_card_visa")
            attached = dispatch(state, "POST", f"/v1/payment_methods/{method}/attach", {"customer": customer})
            settings = {"invoice_settings": {"default_payment_method": attached["id"]}}
            dispatch(state, "POST", f"/v1/customers/{customer}", settings)
            for subscription in state.all("subscription", where=lambda item: item["customer"] == customer):
                if subscription["status"] not in {"canceled", "incomplete_expired"}:
                    state.update(
                        subscription,
                        "customer.subscription.updated",
                        default_payment_method=attached["id"],
                    )
        else:
            subscription = state.get("subscription", form.get("subscription"), "subscription")
            ends = "true" if form.get("act") == "cancel" else "false"
            path = f"/v1/subscriptions/{subscription['id']}"
            dispatch(state, "POST", path, {"cancel_at_period_end": ends})
    except SandboxError as refusal:
        return portal_page(state, portal, str(refusal))
    return Page(303, location=f"/sandbox/stripe/portal/{portal_id}")


def see_invoice(state: State, invoice_id: str) -> Page:
    """The page of an invoice."""
    return invoice_page(state.get("invoice", invoice_id))


def pay_invoice(state: State, invoice_id: str, method: str) -> Page:
    """Pay an invoice on its page; 3-D Secure is asked on a page of its own."""
    invoice = state.get("invoice", invoice_id)
    try:
        dispatch(state, "POST", f"/v1/invoices/{invoice_id}/pay", {"payment_method": method})
    except SandboxError as refusal:
        return invoice_page(invoice, str(refusal))
    return Page(303, location=f"/sandbox/stripe/invoices/{invoice_id}")


def invoice_pdf(state: State, invoice_id: str) -> bytes:
    """An invoice as one page of PDF."""
    invoice = state.get("invoice", invoice_id)
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    lines = [
        f"Invoice {invoice['number'] or invoice['id']}",
        *(
            f"{item['description']}: {money(item['amount'], item['currency'])}"
            for item in invoice["lines"]["data"]
        ),
        f"Total: {money(invoice['total'], invoice['currency'])}",
    ]
    for number, text in enumerate(lines):
        canvas.drawString(72, 770 - 18 * number, text)
    canvas.save()
    return buffer.getvalue()
