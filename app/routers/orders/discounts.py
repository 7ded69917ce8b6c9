"""The routes of discount codes."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.paging import Page
from app.core.requests import StrictRoute
from app.routers.orders.markers import READS, WRITES, Keeper, Reader
from app.schemas.base import PathId
from app.schemas.orders.discounts import DiscountCreate, DiscountQuery, DiscountRead, DiscountUpdate
from app.services.orders.discount_codes import DiscountCodes

router = APIRouter(route_class=StrictRoute, prefix="/api/orders/discounts", tags=["orders"])

UPDATE_PROBLEMS = problems(
    {409: ["discount_in_use"], 412: ["version_mismatch"], 422: ["currency_not_supported"]}
)


def with_etag(response: Response, discount: DiscountRead) -> DiscountRead:
    """The code, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(discount.version)
    return discount


@router.get(
    "",
    dependencies=READS,
    responses=problems({422: ["sort_needs_page", "page_too_deep", "cursor_invalid"]}),
)
async def list_discounts(
    _: Reader, discounts: DiscountCodes, query: Annotated[DiscountQuery, Query()]
) -> Page[DiscountRead]:
    """List discount codes.

    Newest first, unless `sort` says otherwise. `cursor` works with the sorts by `created_at`; those by
    code are paged with `page`.
    """
    return await discounts.list(query)


@router.post(
    "",
    status_code=201,
    dependencies=WRITES,
    responses=problems({409: ["discount_code_taken"], 422: ["currency_not_supported"]}),
)
async def create_discount(
    _: Keeper, discounts: DiscountCodes, body: DiscountCreate, response: Response
) -> DiscountRead:
    """Create a discount code.

    `percent` takes basis points off the goods, `fixed` an amount, `free_shipping` the price of shipping.
    One order uses one code.
    """
    discount = await discounts.create(body)
    response.headers["Location"] = f"/api/orders/discounts/{discount.id}"
    return with_etag(response, discount)


@router.get("/{discount_id}", dependencies=READS)
async def get_discount(
    _: Reader, discounts: DiscountCodes, discount_id: PathId, response: Response
) -> DiscountRead:
    """Get a discount code.

    `ETag` is its version. `redeemed` counts on without a new version.
    """
    return with_etag(response, await discounts.get(discount_id))


@router.patch("/{discount_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
@router.put("/{discount_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
async def update_discount(
    _: Keeper,
    discounts: DiscountCodes,
    discount_id: PathId,
    body: DiscountUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> DiscountRead:
    """Change a discount code.

    Only the fields that are sent change; `code` and `kind` never do. Orders that use the code keep what it
    took off.
    """
    return with_etag(response, await discounts.update(discount_id, body, versions_of(if_match)))


@router.delete("/{discount_id}", status_code=204, dependencies=WRITES)
async def delete_discount(_: Keeper, discounts: DiscountCodes, discount_id: PathId) -> None:
    """Delete a discount code.

    A code that no order ever used is removed. One that was used is switched off, and stays readable.
    """
    await discounts.delete(discount_id)
