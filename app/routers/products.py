"""The routes of products: the catalogue and its stock."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.access import Principal, allow
from app.core.csv_answers import CsvAnswer, csv_answer, csv_success
from app.core.errors import UnsupportedMediaType, problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.limits import limited
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import NoParameters, PathId
from app.schemas.products import (
    ImportReport,
    MovementQuery,
    MovementRead,
    ProductCreate,
    ProductImport,
    ProductQuery,
    ProductRead,
    ProductUpdate,
    StockAdjust,
)
from app.services.products.catalogue import Products
from app.services.products.exporting import ProductExportService
from app.services.products.importing import Imports

router = APIRouter(route_class=StrictRoute, prefix="/api/products", tags=["products"])

Reader = Annotated[Principal, Depends(allow(Permission.products_read, key=True))]
Writer = Annotated[Principal, Depends(allow(Permission.products_write, key=True))]
StockKeeper = Annotated[Principal, Depends(allow(Permission.products_stock, key=True))]

READS = [Depends(limited("products_read", by="principal"))]
WRITES = [Depends(limited("products_write", by="principal"))]

UPDATE_PROBLEMS = problems(
    {
        409: ["sku_taken", "slug_taken", "external_ref_taken", "stock_below_reserved"],
        412: ["version_mismatch"],
        422: [
            "version_required",
            "field_not_writable",
            "currency_not_supported",
            "option_price_below_zero",
            "metadata_too_large",
        ],
    }
)


EXPORTED = "sku,name,slug,external_ref,description,category,price,currency,…\n"
CSV_BODY = {
    "text/csv": {
        "schema": {"type": "string", "description": "UTF-8; comma, semicolon or tab between cells."},
        "example": "sku,name,price,currency,stock\nBAG-01,Weekender bag,24900,EUR,12\n",
    }
}


async def json_or_csv(request: Request) -> None:
    """Refuse a body of any other type (415)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {"application/json", "text/csv"}:
        raise UnsupportedMediaType(
            "unsupported_media_type", "Send JSON as `application/json`, or a table as `text/csv`."
        )


Importable = Annotated[None, Depends(json_or_csv)]
Exports = Annotated[ProductExportService, Depends()]


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
            402: ["plan_limit_reached"],
            409: ["sku_taken", "slug_taken", "external_ref_taken"],
            422: ["currency_not_supported", "option_price_below_zero", "metadata_too_large"],
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


@router.post(
    "/import",
    dependencies=[Depends(limited("products_import", by="principal"))],
    responses=problems(
        {
            402: ["plan_limit_reached"],
            409: ["sku_taken", "slug_taken", "external_ref_taken"],
            422: ["import_rejected", "too_many_rows", "metadata_too_large"],
        }
    ),
    openapi_extra={"requestBody": {"content": CSV_BODY}},
)
async def import_products(
    _: Writer,
    _type: Importable,
    imports: Imports,
    body: ProductImport,
    dry_run: Annotated[
        bool, Query(description="Only check and count; for CSV, which cannot say so itself.")
    ] = False,
) -> ImportReport:
    """Import products.

    By SKU, all rows or none: a known product is changed where the row differs, an unknown one is made. What
    a row does not name stays as it is; in CSV that is an empty cell. `stock` is set, and written down as an
    `import` movement. A file of the export can be sent back. Every fault of every row is in `errors`.
    """
    return await imports.run(body, is_dry=dry_run or body.dry_run)


@router.get(
    "/export.csv",
    dependencies=[Depends(limited("products_export", by="principal"))],
    response_class=CsvAnswer,
    responses=csv_success(EXPORTED),
)
async def export_products(_: Reader, exports: Exports, _query: Annotated[NoParameters, Query()]) -> CsvAnswer:
    """Export products as CSV.

    The newest first, at most 50,000, with the columns that an import reads: `sku`, `name`, `slug`,
    `external_ref`, `description`, `category`, `price` in minor units, `currency`, `tax_category`,
    `weight_g`, `status`, `track_inventory`, `allow_backorder`, `stock`, `low_stock_threshold`,
    `lead_time_days`, `options` and `metadata` as JSON; and then `id`, `reserved`, `available`, `created_at`,
    `updated_at`, which it passes over.

    The file is UTF-8 without a byte order mark. A text that a spreadsheet would take for a formula has an
    apostrophe before it.
    """
    return await csv_answer(exports.parts(), "products")


@router.get("/{product_id}", dependencies=READS)
async def get_product(_: Reader, products: Products, product_id: PathId, response: Response) -> ProductRead:
    """Get a product.

    `ETag` is its version.
    """
    return with_etag(response, await products.get(product_id))


@router.patch("/{product_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
@router.put("/{product_id}", dependencies=WRITES, responses=UPDATE_PROBLEMS)
async def update_product(
    _: Writer,
    products: Products,
    product_id: PathId,
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
async def delete_product(_: Writer, products: Products, product_id: PathId) -> None:
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
    _: StockKeeper, products: Products, product_id: PathId, body: StockAdjust, response: Response
) -> ProductRead:
    """Correct the stock of a product.

    Either by `delta`, or to the number in `set` if the stock is still `expected_stock`.
    """
    return with_etag(response, await products.adjust_stock(product_id, body))


@router.get(
    "/{product_id}/stock/movements",
    dependencies=READS,
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_stock_movements(
    _: StockKeeper, products: Products, product_id: PathId, query: Annotated[MovementQuery, Query()]
) -> Page[MovementRead]:
    """List the movements of a product's stock.

    Newest first: what orders held, took and gave back, and what was corrected by hand.
    """
    return await products.list_movements(product_id, query)
