"""The route of an order's printed document."""

from fastapi import APIRouter, Depends, Request, Response

from app.core.errors import problems
from app.core.file_answers import file_answer, file_success
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.routers.orders.markers import OrderReference, Reader
from app.services.billing.pdf.files import Documents

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])


@router.get(
    "/{order_id}/invoice.pdf",
    dependencies=[Depends(limited("invoice_pdf", by="principal"))],
    response_class=Response,
    responses=file_success("application/pdf")
    | problems({404: ["not_found", "invoice_not_issued"], 416: ["range_not_satisfiable"]}),
)
async def get_order_invoice(
    _: Reader, documents: Documents, order_id: OrderReference, request: Request
) -> Response:
    """Download an order's invoice as PDF.

    There is one from the moment that the order is paid, also of an order that costs nothing.
    """
    document = await documents.of_order(order_id)
    return await file_answer(request, document.facts, document.read)
