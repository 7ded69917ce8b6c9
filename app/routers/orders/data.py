"""The routes by which the data of orders leaves: as a file, or for good."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.core.access import Principal, allow
from app.core.csv_answers import CsvAnswer, csv_answer, csv_success
from app.core.errors import problems
from app.core.limits import limited
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.routers.orders.markers import WRITES, Reader
from app.schemas.orders import OrderFilters
from app.schemas.orders.buyers import CustomerErase, CustomerErased
from app.services.orders.erasing import Erasures
from app.services.orders.exporting import OrderExportService

router = APIRouter(route_class=StrictRoute, prefix="/api/orders", tags=["orders"])

Eraser = Annotated[Principal, Depends(allow(Permission.orders_settings, step_up=True))]
Exports = Annotated[OrderExportService, Depends()]

EXAMPLE = "order_number,id,status,payment_status,hold_reason,channel,currency,subtotal,…\n"


@router.get(
    "/export.csv",
    dependencies=[Depends(limited("orders_export", by="principal"))],
    response_class=CsvAnswer,
    responses={**csv_success(EXAMPLE), **problems({422: ["query_empty"]})},
)
async def export_orders(_: Reader, exports: Exports, query: Annotated[OrderFilters, Query()]) -> CsvAnswer:
    """Export orders as CSV.

    Those that fit the filters of the list, however many, the newest first. One line per order, with these
    columns: `order_number`, `id`, `status`, `payment_status`, `hold_reason`, `channel`, `currency`; the
    amounts `subtotal`, `discount_amount`, `shipping_amount`, `shipping_tax_amount`, `tax_amount`,
    `total_amount`, `amount_paid`, `amount_refunded` in minor units; `discount_code`, `units`, `items`;
    `customer_email`, `customer_name`, `customer_phone`; `shipping_` and then `billing_` with `name`,
    `company`, `line1`, `line2`, `postal_code`, `city`, `region`, `country`; `carrier`, `tracking_number`,
    `tracking_url`, `notes`; `created_at`, `placed_at`, `paid_at`, `shipped_at`, `delivered_at`,
    `completed_at`, `cancelled_at` in UTC.

    The file is UTF-8 without a byte order mark. A text that a spreadsheet would take for a formula has an
    apostrophe before it.
    """
    return await csv_answer(exports.parts(query), "orders")


@router.post("/customers/erase", dependencies=WRITES, responses=problems({409: ["orders_open"]}))
async def erase_order_customer(_: Eraser, erasures: Erasures, body: CustomerErase) -> CustomerErased:
    """Erase a buyer.

    Takes the buyer's name, e-mail address, phone, street, notes and engraved texts out of every order.
    Invoices keep what they print. While an order is not delivered, returned, cancelled or expired, nothing
    is erased; `order_numbers` names those, drafts by their id.
    """
    return await erasures.erase(body)
