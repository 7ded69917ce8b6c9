"""The routes of who pays."""

from fastapi import APIRouter

from app.core.errors import problems
from app.core.requests import StrictRoute
from app.routers.billing.markers import READS, NoRaw, Reader, Writer
from app.schemas.billing.payment_methods import BillingDetailsRead, BillingDetailsUpdate
from app.services.billing.paying.details import Details

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])


@router.get("/details", dependencies=READS)
async def get_billing_details(_: Reader, details: Details) -> BillingDetailsRead:
    """Get who pays.

    As it stands on invoices. `is_synced` says whether the payment provider has it like this already.
    """
    return await details.get()


@router.patch(
    "/details",
    dependencies=READS,
    responses=problems({422: ["tax_id_incomplete", "raw_payment_data_refused"]}),
)
@router.put(
    "/details",
    dependencies=READS,
    responses=problems({422: ["tax_id_incomplete", "raw_payment_data_refused"]}),
)
async def update_billing_details(
    _: Writer, _raw: NoRaw, details: Details, body: BillingDetailsUpdate
) -> BillingDetailsRead:
    """Change who pays.

    Only what is sent changes; null removes it. The payment provider is told in the background, the tax number
    too, which takes the place of any other that it has of you. What it refuses stays here: `is_synced` is
    false then, and `sync_error` says why. The same details sent again are told once more.
    """
    return await details.update(body)
