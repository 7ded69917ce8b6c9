"""Orders as a CSV file of any length."""

from collections.abc import AsyncIterator

from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf
from app.repositories.orders.exporting import order_parts
from app.schemas.orders import OrderFilters
from app.services.orders.reading import conditions_of


class OrderExportService:
    """Hands out the organisation's orders part by part."""

    def __init__(self, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.database = database
        self.principal = principal

    def parts(self, query: OrderFilters) -> AsyncIterator[bytes]:
        """The file's parts, the newest orders first; 422 `query_empty`."""
        return order_parts(self.database, self.principal, conditions_of(query, self.principal))
