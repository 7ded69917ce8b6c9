"""The history of an order as a list: its changes of state in the order in which they happened."""

import json

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.paging import PageQuery, Rows, make_number, offset_of, read_number
from app.models.orders import OrderStatusHistory
from app.repositories.orders.orders import HistoryRepository, OrderRepository


class OrderHistoryService:
    """Reads what the database has recorded of orders."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.principal = principal
        self.orders = OrderRepository(session)
        self.history = HistoryRepository(session)

    async def list(self, reference: str, query: PageQuery) -> Rows[OrderStatusHistory]:
        """A page of an order's changes, the first one first; 404; 422 `page_too_deep`, `cursor_invalid`.

        Positions count from 1 without gaps, so that a numbered page begins behind as many as it passes over.
        """
        order_id = await self.orders.id_of(reference)
        if order_id is None:
            raise NotFound()
        scope = json.dumps(["order_history", str(self.principal.organization_id), str(order_id)]).encode()
        after = offset_of(query) if query.cursor is None else read_number(query.cursor, scope)
        found = await self.history.after(order_id, after, query.limit + 1)
        items = found[: query.limit]
        has_more = len(found) > query.limit
        total = await self.history.count(order_id) if query.page is not None or query.count else None
        cursor = make_number(scope, items[-1].position) if has_more else None
        return Rows(items, cursor, total)
