"""Reading orders: one, a page of them, and the history of one."""

from typing import Any
from uuid import UUID

from app.core.access import CurrentPrincipal, Principal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.mail_addresses import parse_address
from app.core.paging import Keyset, Pager, Sort, page_json
from app.core.permissions import Permission
from app.core.search_terms import search_query
from app.models.orders import Order
from app.repositories.orders.documents import OrderDocument, OrderDocuments
from app.repositories.orders.orders import OrderRepository
from app.schemas.orders import OrderDetail, OrderFilters, OrderQuery, OrderRead
from app.schemas.shapes import shape_of
from app.services.orders.states import transitions_by_state

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


DOCUMENTS = OrderDocuments(shape_of(OrderRead), shape_of(OrderDetail), transitions_by_state())

PLAIN = frozenset({"limit", "cursor", "sort"})
"""What may be asked of the newest orders, which are read more often than everything else together."""


class OrderReader:
    """Answers questions about the organisation's orders, in JSON that PostgreSQL writes."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.orders = OrderRepository(session)
        self.may_write = principal.may(Permission.orders_write)

    async def get(self, reference: str) -> OrderDocument:
        """The order with this id or number as an `OrderDetail`; 404."""
        found = await DOCUMENTS.single(
            self.session, self._organization_id(), reference, may_write=self.may_write
        )
        if found is None:
            raise NotFound()
        return found

    async def list(self, query: OrderQuery) -> bytes:
        """A page of `OrderRead`s; the newest ones in one statement. 422 `query_empty`."""
        if query.model_fields_set <= PLAIN and query.sort == "-created_at":
            return await self._newest(query)
        statement = self.orders.matching(**conditions_of(query, self.principal))
        rows = await PAGER.rows(self.session, statement, query, query.sort, is_scalar=False)
        items = await DOCUMENTS.chosen(
            self.session, self._organization_id(), [row.id for row in rows.items], may_write=self.may_write
        )
        return page_json(items, rows.next_cursor, rows.total)

    async def _newest(self, query: OrderQuery) -> bytes:
        page = await DOCUMENTS.newest(
            self.session,
            self._organization_id(),
            limit=query.limit,
            before=PAGER.position(self.session, query, query.sort),
            may_write=self.may_write,
        )
        return page_json(page.items, PAGER.cursor(self.session, query, query.sort, page.last), None)

    def _organization_id(self) -> UUID:
        if self.principal.organization_id is None:
            raise NotFound()
        return self.principal.organization_id


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
