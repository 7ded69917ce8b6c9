"""Owns paying an invoice of the platform: on Stripe's own page."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, NotFound
from app.repositories.billing.invoice_mirrors import InvoiceMirrorRepository
from app.schemas.billing.subscription import InvoicePage
from app.services.billing.paying.desk import organization_of
from app.services.stripe_webhooks.refusals import require_stripe


class InvoicePaying:
    """Leads to where an invoice is paid."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.invoices = InvoiceMirrorRepository(session)
        self.principal = principal

    async def page(self, invoice_id: UUID) -> InvoicePage:
        """The page of an open invoice. 404; 409 `invoice_not_open`; 503."""
        require_stripe()
        invoice = await self.invoices.find(organization_of(self.principal), invoice_id)
        if invoice is None:
            raise NotFound()
        if invoice.status != "open" or invoice.hosted_invoice_url is None:
            raise Conflict("invoice_not_open", "There is nothing to pay for this document.")
        return InvoicePage(hosted_invoice_url=invoice.hosted_invoice_url)


PayingInvoices = Annotated[InvoicePaying, Depends()]
