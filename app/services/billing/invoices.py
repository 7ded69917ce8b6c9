"""Owns what people read of invoices and credit notes."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.billing import Invoice
from app.repositories.billing.invoices import InvoiceRepository
from app.schemas.billing.invoices import InvoiceDetail, InvoiceQuery, InvoiceRead
from app.services.billing.events import payment_state

NEWEST_FIRST = "-created_at"
PAGER = Pager(
    "invoices",
    Keyset(Invoice.created_at, Invoice.id),
    {NEWEST_FIRST: Sort(Invoice.created_at, True, has_cursor=True)},
)

READ = frozenset(InvoiceRead.model_fields) - {"payment_state", "pdf_url"}


class InvoiceService:
    """Shows the documents of the organisation."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.invoices = InvoiceRepository(session)

    async def list(self, query: InvoiceQuery) -> Rows[InvoiceRead]:
        """A page of documents, the newest first."""
        statement = self.invoices.matching(
            status=query.status, kind=query.kind, since=query.from_, until=query.to, number=query.q
        )
        rows: Rows[Invoice] = await PAGER.rows(self.session, statement, query, NEWEST_FIRST)
        return rows.map(lambda invoice: InvoiceRead.model_validate(_members(invoice)))

    async def get(self, invoice_id: UUID) -> InvoiceDetail:
        """One document with its lines; 404."""
        invoice = await self.invoices.get(invoice_id)
        if invoice is None:
            raise NotFound()
        return InvoiceDetail.model_validate(
            {
                **_members(invoice),
                "last_payment_error": invoice.last_payment_error,
                "parties": invoice.parties,
                "tax_groups": invoice.tax_groups,
                "lines": await self.invoices.lines(invoice.id),
            }
        )


def _members(invoice: Invoice) -> dict[str, object]:
    is_final = invoice.status != "draft"
    return {
        **{name: getattr(invoice, name) for name in READ},
        "payment_state": payment_state(invoice.status, invoice.attempt_count),
        "pdf_url": f"{get_settings().api_url}/api/billing/invoices/{invoice.id}/pdf" if is_final else None,
    }


Invoices = Annotated[InvoiceService, Depends()]
