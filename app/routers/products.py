"""The routes of products: the catalogue and its stock."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.limits import limited
from app.core.paging import Page
from app.core.permissions import Permission
from app.schemas.products import (
    MovementQuery,
    MovementRead,
    ProductCreate,
    ProductQuery,
    ProductRead,
    ProductUpdate,
    StockAdjust,
)
from app.services.products.catalogue import Products

router = APIRouter(prefix="/api/products", tags=["products"])

Reader = Annotated[Principal, Depends(allow(Permission.products_read, key=True))]
Writer = Annotated[Principal, Depends(allow(Permission.products_write, key=True))]
StockKeeper = Annotated[Principal, Depends(allow(Permission.products_stock, key=True))]

READS = [Depends(limited("products_read", by="principal"))]
WRITES = [Depends(limited("products_write", by="principal"))]

UPDATE_PROBLEMS = problems(
    {
        409: ["sku_taken", "slug_taken", "external_ref_taken", "stock_below_reserved"],
        412: ["version_mismatch"],
        422: ["version_required", "field_not_writable", "currency_not_supported", "option_price_below_zero"],
    }
)


def with_etag(response: Response, product: ProductRead) -> ProductRead:
    """The product, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(product.version)
    return product


@router.get(
    "",
    dependencies=READS,
    responses=problems({422: ["query_empty", "sort_needs_page", "page_too_deep", "cursor_invalid"]}),
)
async def list_products(
    _: Reader, products: Products, query: Annotated[ProductQuery, Query()]
) -> Page[ProductRead]:
    """List products.

    Newest first, unless `sort` says otherwise. `cursor` works with the sorts by `created_at`; the others are
    paged with `page`.
    """
    return await products.list(query)


@router.post(
    "",
    status_code=201,
    dependencies=WRITES,
    responses=problems(
        {
            409: ["sku_taken", "slug_taken", "external_ref_taken"],
            422: ["currency_not_supported", "option_price_below_zero"],
        }
    ),
)
async def create_product(
    _: Writer, products: Products, body: ProductCreate, response: Response
) -> ProductRead:
    """Create a product.

    Its slug is made from the name, and its currency is that of the order settings, unless they are sent.
    """
    product = await products.create(body)
    response.headers["Location"] = f"/api/products/{product.id}"
    return with_etag(response, product)


@router.get("/{product_id}", dependencies=READS)
async def get_product(_: Reader, products: Products, product_id: UUID, response: Response) -> ProductRead:
    """Get a product.

    `ETag` is its version.
    """
    return with_etag(response, await products.get(product_id))


@router.patch("/{product_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
@router.put("/{product_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
async def update_product(
    _: Writer,
    products: Products,
    product_id: UUID,
    body: ProductUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> ProductRead:
    """Change a product.

    Only the fields that are sent change. `version` or `If-Match` is due: a product that somebody changed
    meanwhile is not overwritten. Stock has an address of its own.
    """
    return with_etag(response, await products.update(product_id, body, versions_of(if_match)))


@router.delete("/{product_id}", status_code=204, dependencies=WRITES)
async def delete_product(_: Writer, products: Products, product_id: UUID) -> None:
    """Delete a product.

    Orders that name it keep their copy, and the pieces that they hold.
    """
    await products.delete(product_id)


@router.patch(
    "/{product_id}/stock",
    dependencies=WRITES,
    responses=problems(
        {409: ["inventory_not_tracked", "stock_changed", "stock_below_reserved", "stock_out_of_range"]}
    ),
)
async def adjust_stock(
    _: StockKeeper, products: Products, product_id: UUID, body: StockAdjust, response: Response
) -> ProductRead:
    """Correct the stock of a product.

    Either by `delta`, or to the number in `set` if the stock is still `expected_stock`.
    """
    return with_etag(response, await products.adjust_stock(product_id, body))


@router.get("/{product_id}/stock/movements", dependencies=READS)
async def list_stock_movements(
    _: StockKeeper, products: Products, product_id: UUID, query: Annotated[MovementQuery, Query()]
) -> Page[MovementRead]:
    """List the movements of a product's stock.

    Newest first: what orders held, took and gave back, and what was corrected by hand.
    """
    return await products.list_movements(product_id, query)
