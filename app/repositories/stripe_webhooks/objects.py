"""Questions to stripe_objects: whose an id of Stripe is."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.models.orders import Order
from app.models.stripe_webhooks import StripeObject
from app.models.team import Organization
from app.repositories.base import Repository


class ObjectRepository(Repository[StripeObject]):
    """Ids of Stripe and the organisations they belong to; a row never changes hands."""

    model = StripeObject

    async def bind(
        self, stripe_id: str, object_type: str, organization_id: UUID, local_id: UUID | None
    ) -> UUID:
        """Write whose this id is unless somebody has; answers whose it is then."""
        statement = (
            insert(StripeObject)
            .values(
                stripe_id=stripe_id,
                object_type=object_type,
                organization_id=organization_id,
                local_id=local_id,
            )
            .on_conflict_do_nothing(index_elements=["stripe_id"])
        )
        # Past the row guard: a route binds what Stripe has just answered; nobody's session sees the table.
        connection = await self.session.connection()
        await connection.execute(statement)
        found = await connection.execute(
            select(StripeObject.organization_id).where(StripeObject.stripe_id == stripe_id)
        )
        owner: UUID = found.scalar_one()
        return owner

    async def owners(self, stripe_ids: Sequence[str]) -> dict[str, UUID]:
        """Whose these ids are, as far as they are known."""
        connection = await self.session.connection()
        found = await connection.execute(
            select(StripeObject.stripe_id, StripeObject.organization_id).where(
                StripeObject.stripe_id.in_(stripe_ids)
            )
        )
        return {row.stripe_id: row.organization_id for row in found}

    async def organization_exists(self, organization_id: UUID) -> bool:
        """Whether there is such an organisation, deleted or not."""
        connection = await self.session.connection()
        found = await connection.execute(select(Organization.id).where(Organization.id == organization_id))
        return found.scalar() is not None

    async def order_exists(self, order_id: UUID) -> bool:
        """Whether any organisation has this order."""
        connection = await self.session.connection()
        found = await connection.execute(select(Order.id).where(Order.id == order_id).limit(1))
        return found.scalar() is not None
