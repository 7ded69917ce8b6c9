"""Reading orders: one, a page of them, and the history of one."""

from typing import Any
from uuid import UUID

from app.core.access import CurrentPrincipal, Principal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.mail_addresses import parse_address
from app.core.paging import Keyset, Pager, Rows, Sort
from app.core.search_terms import search_query
from app.models.orders import Order
from app.repositories.orders.orders import OrderRepository
from app.schemas.orders import OrderDetail, OrderFilters, OrderQuery, OrderRead
from app.services.orders.views import detail, read

PAGER = Pager(
    "orders",
    Keyset(Order.created_at, Order.id),
    {
        "-created_at": Sort(Order.created_at, True, has_cursor=True),
        "created_at": Sort(Order.created_at, False, has_cursor=True),
        "-total_amount": Sort(Order.total_amount, True),
        "total_amount": Sort(Order.total_amount, False),
    },
)


class OrderReader:
    """Answers questions about the organisation's orders."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.orders = OrderRepository(session)

    async def get(self, reference: str) -> OrderDetail:
        """The order with this id or number; 404."""
        view = await self.orders.view(reference)
        if view is None:
            raise NotFound()
        return detail(view, self.principal)

    async def list(self, query: OrderQuery) -> Rows[OrderRead]:
        """A page of orders, each with its lines, in one statement; 422 `query_empty`."""
        statement = self.orders.matching(**conditions_of(query, self.principal))
        rows = await PAGER.rows(self.session, statement, query, query.sort, is_scalar=False)
        return rows.map(lambda row: read(row.Order, row.order_items, self.principal))


def conditions_of(query: OrderFilters, principal: Principal) -> dict[str, Any]:
    """What was asked for, as the repository's filters; None where nothing was. 422 `query_empty`."""
    email = parse_address(query.customer_email).canonical if query.customer_email else None
    return {
        "status": query.status or None,
        "payment_status": query.payment_status or None,
        "on_hold": query.on_hold,
        "tsquery": _tsquery(query.words, principal.organization_id),
        "product_id": query.product_id,
        "customer_email": email,
        "since": query.from_,
        "until": query.to,
        "min_total": query.min_total,
        "max_total": query.max_total,
    }


def _tsquery(words: str | None, organization_id: UUID | None) -> str | None:
    if words is None or organization_id is None:
        return None
    tsquery = search_query(organization_id, words)
    if tsquery is None:
        detail_ = "The query has no letter and no digit; leave `q` out for all orders."
        raise Invalid("query_empty", detail_, errors=[FieldError("/q", "query_empty", detail_)])
    return tsquery
