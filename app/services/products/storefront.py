"""The product pages of shops that are open to everybody."""

from typing import Annotated

from fastapi import Depends

from app.core.database import Unscoped
from app.core.errors import NotFound
from app.models.products import Product
from app.repositories.products.storefront import StorefrontRepository
from app.schemas.storefront import Availability, PublicProduct


class StorefrontService:
    """Reads what organisations show to everybody."""

    def __init__(self, session: Unscoped) -> None:
        self.products = StorefrontRepository(session)

    async def get(self, organization_slug: str, slug: str) -> PublicProduct:
        """A product of a public shop; 404 when the shop, its storefront or the product is not there."""
        product = await self.products.find(organization_slug, slug)
        if product is None:
            raise NotFound()
        return PublicProduct(
            name=product.name,
            slug=product.slug,
            description=product.description,
            category=product.category,
            price=product.price,
            currency=product.currency,
            images=[],
            options=product.options,
            lead_time_days=product.lead_time_days,
            availability=availability_of(product),
        )


def availability_of(product: Product) -> Availability:
    """Whether it can be had, without saying how many pieces there are."""
    if not product.track_inventory or product.stock - product.reserved > 0:
        return "in_stock"
    return "backorder" if product.allow_backorder else "out_of_stock"


Storefront = Annotated[StorefrontService, Depends()]
