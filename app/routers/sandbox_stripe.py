"""Stripe as this machine plays it: the wire for tools, controls, and the pages that payers see."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Form, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from app.core.access import public
from app.core.requests import StrictRoute
from app.schemas.sandbox_stripe import PortalForm
from app.services.stripe_sandbox import SandboxStripe, check_origin
from app.services.stripe_sandbox.wire import Page, wire_request

router = APIRouter(
    route_class=StrictRoute,
    prefix="/sandbox/stripe",
    tags=["sandbox"],
    dependencies=[Depends(public("local sandbox, absent in production"))],
    include_in_schema=False,
)

NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
"""Browsers say nothing of where a form comes from, not even to its own page, under a stricter policy."""

Origin = Annotated[str | None, Header(max_length=300)]
Choice = Annotated[str, Form(max_length=60)]


def shown(page: Page) -> Response:
    """A page, or the way to the next one."""
    if page.location is not None:
        return RedirectResponse(page.location, 303, NO_STORE)
    return HTMLResponse(page.html, page.status, {**NO_STORE, "Content-Security-Policy": page.policy})


@router.get("/", response_class=HTMLResponse)
async def show_sandbox_stripe(stripe: SandboxStripe) -> Response:
    """Objects, events, clock and faults."""
    return shown(await stripe.overview())


@router.api_route("/v1/{path:path}", methods=["GET", "POST", "DELETE"])
async def answer_sandbox_stripe(request: Request, stripe: SandboxStripe) -> Response:
    """Answer as Stripe does, for tools that speak its wire."""
    answer = await stripe.answer(await wire_request(request))
    return Response(answer.body, answer.status, answer.headers)


@router.post("/control/{path:path}")
async def control_sandbox_stripe(
    path: str,
    stripe: SandboxStripe,
    body: Annotated[dict[str, Any] | None, Body()] = None,
    origin: Origin = None,
) -> Response:
    """Move the clock, plan faults, pay, dispute, deliver again or forget everything.

    Tools send no origin; a page of somebody else's that a developer visits does.
    """
    if origin is not None:
        check_origin(origin)
    status, answer = await stripe.control(path, body or {})
    return JSONResponse(answer, status, NO_STORE)


@router.get("/pay/{link_id}", response_class=RedirectResponse)
async def open_sandbox_payment_link(link_id: str, stripe: SandboxStripe) -> Response:
    """Open a payment link: leads to the page of a new session; 410 when the link is switched off."""
    return shown(await stripe.open_link(link_id))


@router.get("/checkout/{session_id}", response_class=HTMLResponse)
async def show_sandbox_checkout(session_id: str, stripe: SandboxStripe) -> Response:
    """Lines, total and a button per outcome; 410 when the session is over."""
    return shown(await stripe.checkout(session_id))


@router.post("/checkout/{session_id}", response_class=RedirectResponse)
async def complete_sandbox_checkout(
    session_id: str, stripe: SandboxStripe, outcome: Choice, origin: Origin = None
) -> Response:
    """Pay, or be refused; success leads to the shop."""
    check_origin(origin)
    return shown(await stripe.choose(session_id, outcome))


@router.get("/authenticate/{intent_id}", response_class=HTMLResponse)
async def show_sandbox_authentication(intent_id: str, stripe: SandboxStripe) -> Response:
    """The bank's question of 3-D Secure."""
    return shown(await stripe.authentication(intent_id))


@router.post("/authenticate/{intent_id}", response_class=RedirectResponse)
async def answer_sandbox_authentication(
    intent_id: str, stripe: SandboxStripe, passes: Choice, origin: Origin = None
) -> Response:
    """Answer the bank."""
    check_origin(origin)
    return shown(await stripe.authenticate(intent_id, passes))


@router.get("/portal/{portal_id}", response_class=HTMLResponse)
async def show_sandbox_portal(portal_id: str, stripe: SandboxStripe) -> Response:
    """Subscriptions, method and invoices of a customer."""
    return shown(await stripe.portal(portal_id))


@router.post("/portal/{portal_id}", response_class=RedirectResponse)
async def use_sandbox_portal(
    portal_id: str, stripe: SandboxStripe, form: Annotated[PortalForm, Form()], origin: Origin = None
) -> Response:
    """Cancel, resume, or change the method."""
    check_origin(origin)
    return shown(await stripe.act(portal_id, form.model_dump()))


@router.get("/invoices/{file_name}", response_class=HTMLResponse)
async def show_sandbox_invoice(file_name: str, stripe: SandboxStripe) -> Response:
    """An invoice and what it may be paid with; with `.pdf` at the end, the invoice as PDF."""
    invoice_id = file_name.removesuffix(".pdf")
    if invoice_id != file_name:
        return Response(await stripe.invoice_pdf(invoice_id), 200, NO_STORE, "application/pdf")
    return shown(await stripe.invoice(invoice_id))


@router.post("/invoices/{invoice_id}", response_class=RedirectResponse)
async def pay_sandbox_invoice(
    invoice_id: str, stripe: SandboxStripe, method: Choice, origin: Origin = None
) -> Response:
    """Pay an invoice."""
    check_origin(origin)
    return shown(await stripe.pay(invoice_id, method))
