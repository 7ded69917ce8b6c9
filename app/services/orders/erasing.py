"""Taking a buyer out of the orders of an organisation, at the buyer's demand."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, NotFound
from app.core.events import emit_all
from app.core.mail_addresses import parse_address
from app.models.orders import Order, OrderItem
from app.repositories.orders.erasing import CustomerRepository
from app.schemas.orders.buyers import CustomerErase, CustomerErased
from app.services.notifications.mailing import address_hashes
from app.services.orders.events import OrderUpdated, order_event
from app.services.orders.lines import order_terms

CLOSED = frozenset({"delivered", "returned", "cancelled", "expired"})
"""Orders that need nobody's name any more. A draft does: somebody still means to sell it."""


class ErasureService:
    """Erases what orders say of their buyers; invoices keep what they print."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        if principal.organization_id is None:
            raise NotFound()
        self.session = session
        self.organization_id: UUID = principal.organization_id
        self.customers = CustomerRepository(session)

    async def erase(self, body: CustomerErase) -> CustomerErased:
        """Take the buyer with this address out of every order, or out of none.

        409 `orders_open` names the orders that are not closed yet; a draft, which has no number, by its id.
        """
        canonical = parse_address(body.email).canonical
        orders = await self.customers.locked_orders(canonical)
        is_open = [order.order_number or str(order.id) for order in orders if order.status not in CLOSED]
        if is_open:
            raise Conflict(
                "orders_open",
                "Some orders of this buyer are still open; close them first.",
                order_numbers=is_open,
            )
        await self.customers.erase_redemptions(canonical)
        if orders:
            await self._erase(orders)
            await self.customers.erase_mails(self.organization_id, address_hashes(canonical))
        return CustomerErased(orders_count=len(orders))

    async def _erase(self, orders: list[Order]) -> None:
        ids = [order.id for order in orders]
        lines: dict[UUID, list[OrderItem]] = {order_id: [] for order_id in ids}
        for item in await self.customers.items(ids):
            lines[item.order_id].append(item)
        terms = {
            order.id: order_terms(
                self.organization_id,
                (order.order_number or "",),
                {},
                [(item.sku, item.name) for item in lines[order.id]],
            )
            for order in orders
        }
        await self.customers.erase_texts(ids)
        erased = await self.customers.erase_orders(terms)
        told = [
            order_event(OrderUpdated, order, [_told(item) for item in lines[order.id]]) for order in erased
        ]
        await emit_all(self.session, [event for event in told if event.order_number is not None])


def _told(item: OrderItem) -> dict[str, object]:
    """What an event says of a line."""
    return {name: getattr(item, name) for name in ("id", "product_id", "sku", "name", "quantity")}


Erasures = Annotated[ErasureService, Depends()]
