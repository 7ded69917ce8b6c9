"""What a shop shows to everybody, read without an owner: shop and product are named by their slugs."""

from sqlalchemy import select

from app.core.database import SystemSession
from app.models.orders import OrderSettings
from app.models.products import Product
from app.models.team import Organization


class StorefrontRepository:
    """Products of organisations whose storefront is public."""

    def __init__(self, session: SystemSession) -> None:
        self.session = session

    async def find(self, organization_slug: str, slug: str) -> Product | None:
        """The active product of a public shop, or None for anything else."""
        statement = (
            select(Product)
            .join(Organization, Organization.id == Product.organization_id)
            .join(OrderSettings, OrderSettings.organization_id == Product.organization_id)
            .where(
                Organization.slug == organization_slug,
                Organization.deleted_at.is_(None),
                OrderSettings.is_storefront_public,
                Product.slug == slug,
                Product.status == "active",
                Product.deleted_at.is_(None),
            )
        )
        found: Product | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found
