"""Orders as their buyers ask for them: by shop, number and e-mail address, without an owner's session."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from app.core.database import ScopedSession
from app.models.orders import Order
from app.models.team import Organization


class KnownOrder(NamedTuple):
    """An order, and whose it is."""

    organization_id: UUID
    order_id: UUID


class TrackedOrder(NamedTuple):
    """What the mail with an order's link tells."""

    order: Order
    shop: str


class TrackingRepository:
    """Orders of every organisation; each question names the organisation."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def find(self, slug: str, number: str, canonical: str) -> KnownOrder | None:
        """The order of this shop with this number, if it was ordered with this canonical address."""
        statement = (
            select(Order.organization_id, Order.id)
            .join(Organization, Organization.id == Order.organization_id)
            .where(
                Organization.slug == slug,
                Organization.deleted_at.is_(None),
                Order.order_number == number,
                Order.customer_email_canonical == canonical,
            )
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else KnownOrder(*row)

    async def get(self, organization_id: UUID, order_id: UUID) -> TrackedOrder | None:
        """The order, with the name of its shop."""
        statement = (
            select(Order, Organization.name)
            .join(Organization, Organization.id == Order.organization_id)
            .where(Order.organization_id == organization_id, Order.id == order_id)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else TrackedOrder(*row)
