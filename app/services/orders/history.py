"""The history of an order as a list: its changes of state in the order in which they happened."""

import json
from datetime import UTC, datetime
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.paging import PageQuery, Rows, make_cursor, read_cursor
from app.models.orders import OrderStatusHistory
from app.repositories.orders.orders import HistoryRepository, OrderRepository

START = datetime(2000, 1, 1, tzinfo=UTC)
"""Cursors carry a moment and an id; the history is paged by its positions, which travel as the id."""


class OrderHistoryService:
    """Reads what the database has recorded of orders."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.principal = principal
        self.orders = OrderRepository(session)
        self.history = HistoryRepository(session)

    async def list(self, reference: str, query: PageQuery) -> Rows[OrderStatusHistory]:
        """A page of an order's changes, the first one first; 404."""
        order_id = await self.orders.id_of(reference)
        if order_id is None:
            raise NotFound()
        scope = json.dumps(["order_history", str(self.principal.organization_id), str(order_id)]).encode()
        after = 0
        if query.page is not None:
            after = (query.page - 1) * query.limit
        elif query.cursor is not None:
            after = read_cursor(query.cursor, scope)[1].int
        found = await self.history.after(order_id, after, query.limit + 1)
        items = found[: query.limit]
        has_more = len(found) > query.limit
        total = await self.history.count(order_id) if query.page is not None or query.count else None
        cursor = make_cursor(scope, START, UUID(int=items[-1].position)) if has_more else None
        return Rows(items, cursor, total)
