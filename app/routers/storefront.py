"""The product pages of shops, for everybody."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from app.core.access import public
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.storefront import PublicProduct, StorefrontQuery
from app.services.products.storefront import Storefront

router = APIRouter(route_class=StrictRoute, prefix="/api/public/products", tags=["public"])

Visitor = Annotated[None, Depends(public("storefront product page"))]
Slug = Annotated[str, Path(max_length=80, description="The product's slug.", examples=["weekender-bag"])]


@router.get(
    "/{slug}",
    dependencies=[Depends(limited("public_product", by="address"))],
    responses=problems({404: ["not_found"]}),
)
async def get_public_product(
    _: Visitor,
    storefront: Storefront,
    slug: Slug,
    query: Annotated[StorefrontQuery, Query()],
    response: Response,
) -> PublicProduct:
    """Show a product of a shop.

    Only active products of organisations that have opened their storefront (`is_storefront_public` in the
    order settings). It says whether the product can be had, never how many pieces there are.
    """
    product = await storefront.get(query.organization, slug)
    response.headers["Cache-Control"] = "public, max-age=60"
    return product
