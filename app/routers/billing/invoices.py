"""The routes of invoices and credit notes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.errors import problems
from app.core.file_answers import file_answer, file_success
from app.core.limits import limited
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.routers.billing.markers import PROVIDER, READS, Reader
from app.schemas.base import PathId
from app.schemas.billing.invoices import InvoiceDetail, InvoiceQuery, InvoiceRead
from app.services.billing.invoices import Invoices
from app.services.billing.pdf.files import Documents

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])

PRINTS = [Depends(limited("invoice_pdf", by="principal"))]


@router.get(
    "/invoices",
    response_model=Page[InvoiceRead],
    dependencies=READS,
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_invoices(
    _: Reader, invoices: Invoices, query: Annotated[InvoiceQuery, Query()]
) -> Rows[InvoiceRead]:
    """List invoices and credit notes.

    Newest first: those of the subscription, and those of the organisation's own orders.
    """
    return await invoices.list(query)


@router.get("/invoices/{invoice_id}", dependencies=READS)
async def get_invoice(_: Reader, invoices: Invoices, invoice_id: PathId) -> InvoiceDetail:
    """Get an invoice or a credit note.

    With its lines, its taxes, and seller and buyer as they are printed.
    """
    return await invoices.get(invoice_id)


@router.get(
    "/invoices/{invoice_id}/pdf",
    dependencies=PRINTS,
    response_class=Response,
    responses=file_success("application/pdf")
    | problems(
        {
            404: ["not_found"],
            409: ["invoice_not_final", "provider_out_of_sync"],
            416: ["range_not_satisfiable"],
            503: PROVIDER,
        }
    ),
)
async def get_invoice_pdf(_: Reader, documents: Documents, invoice_id: PathId, request: Request) -> Response:
    """Download an invoice or a credit note as PDF.

    Of the organisation's own documents, printed once in the language that they were issued in; of the
    subscription's, what the payment provider printed.
    """
    document = await documents.of_document(invoice_id)
    return await file_answer(request, document.facts, document.read)
