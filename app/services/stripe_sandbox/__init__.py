"""The sandbox of Stripe over HTTP: its wire, its controls and its pages."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends

from app.clients.stripe import stripe_client
from app.clients.stripe.sandbox import visits
from app.clients.stripe.sandbox.controls import run_control
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.pages import Page, overview
from app.clients.stripe.sandbox.payment_links import visit_link
from app.clients.stripe.sandbox.sandbox import NoAnswer, Sandbox
from app.clients.stripe.sandbox.server import Answer, Request
from app.clients.stripe.sandbox.state import State
from app.core.config import get_settings
from app.core.errors import AppError, Forbidden, NotFound

Result = TypeVar("Result")


class SandboxRefused(AppError):
    """What is asked of the sandbox is not possible now."""

    status = 409


class SandboxSilent(AppError):
    """A planned fault says that no answer arrives."""

    status = 504


class SandboxStripeService:
    """Speaks for the sandbox that this process' client is."""

    def __init__(self) -> None:
        sandbox = stripe_client().sandbox
        if sandbox is None:
            raise NotFound()
        self.sandbox: Sandbox = sandbox

    async def answer(self, request: Request) -> Answer:
        """Answer a request of Stripe's wire."""
        try:
            return await self.sandbox.request(request)
        except NoAnswer:
            raise SandboxSilent("no_answer", "A planned fault lost this request or its answer.") from None

    async def control(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Run a control; answers status and object in Stripe's form, also for refusals."""
        try:
            return await self.sandbox.change(lambda state: run_control(state, path, body))
        except SandboxError as refusal:
            return refusal.status, refusal.body

    async def overview(self) -> Page:
        """Objects, events, clock and faults."""
        return await self.sandbox.change(overview)

    async def open_link(self, link_id: str) -> Page:
        """Open a payment link."""
        return await self._visit(partial(visit_link, link_id=link_id))

    async def checkout(self, session_id: str) -> Page:
        """The page of a session."""
        return await self._visit(partial(visits.see_checkout, session_id=session_id))

    async def choose(self, session_id: str, outcome: str) -> Page:
        """Press a button of that page."""
        return await self._visit(partial(visits.choose_outcome, session_id=session_id, outcome=outcome))

    async def authentication(self, intent_id: str) -> Page:
        """The bank's question."""
        return await self._visit(partial(visits.see_authentication, intent_id=intent_id))

    async def authenticate(self, intent_id: str, passes: str) -> Page:
        """Answer it."""
        return await self._visit(partial(visits.answer_authentication, intent_id=intent_id, passes=passes))

    async def portal(self, portal_id: str) -> Page:
        """The portal of a customer."""
        return await self._visit(partial(visits.see_portal, portal_id=portal_id))

    async def act(self, portal_id: str, form: Mapping[str, str]) -> Page:
        """Use a form of the portal."""
        return await self._visit(partial(visits.act_in_portal, portal_id=portal_id, form=dict(form)))

    async def invoice(self, invoice_id: str) -> Page:
        """The page of an invoice."""
        return await self._visit(partial(visits.see_invoice, invoice_id=invoice_id))

    async def pay(self, invoice_id: str, method: str) -> Page:
        """Pay it there."""
        return await self._visit(partial(visits.pay_invoice, invoice_id=invoice_id, method=method))

    async def invoice_pdf(self, invoice_id: str) -> bytes:
        """An invoice as PDF."""
        return await self._visit(partial(visits.invoice_pdf, invoice_id=invoice_id))

    async def _visit(self, work: Callable[[State], Result]) -> Result:
        try:
            return await self.sandbox.change(work)
        except SandboxError as refusal:
            if refusal.status == 404:
                raise NotFound() from None
            raise SandboxRefused("sandbox_refused", str(refusal)) from None


def check_origin(origin: str | None) -> None:
    """Refuse forms of other pages. Raises Forbidden."""
    settings = get_settings()
    own = {settings.api_url, *(f"http://{host}:{settings.port}" for host in ("127.0.0.1", "localhost"))}
    if origin not in own:
        raise Forbidden("foreign_origin", "Only the sandbox's own pages may send this form.")


SandboxStripe = Annotated[SandboxStripeService, Depends()]
