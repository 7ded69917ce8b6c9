"""What a mail to a buyer tells: the order with its lines, its shop, and one of its refunds."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select

from app.core.database import ScopedSession
from app.models.orders import Order, OrderSettings, Refund
from app.models.team import Organization
from app.repositories.orders.orders import items_json


class MailedOrder(NamedTuple):
    """An order, its lines as JSON values, and who sells; `seller` is None before the settings' first use."""

    order: Order
    items: list[dict[str, Any]]
    shop: str
    seller: dict[str, Any] | None


class BuyerMailRepository:
    """Orders of every organisation; each question names the organisation."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def order(self, organization_id: UUID, order_id: UUID) -> MailedOrder | None:
        """The order of a mail. Its buyer is not erased until the transaction ends."""
        statement = (
            select(Order, items_json(), Organization.name, OrderSettings.seller)
            .join(Organization, Organization.id == Order.organization_id)
            .outerjoin(OrderSettings, OrderSettings.organization_id == Order.organization_id)
            .where(Order.organization_id == organization_id, Order.id == order_id)
            .with_for_update(read=True, of=Order)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else MailedOrder(*row)

    async def refund(self, organization_id: UUID, refund_id: UUID) -> Refund | None:
        """One refund."""
        statement = select(Refund).where(Refund.organization_id == organization_id, Refund.id == refund_id)
        found: Refund | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found
