"""How every act on an order begins and ends: actor, lock and version first; new version and events last."""

from collections.abc import Collection

from app.core.access import CurrentPrincipal
from app.core.database import Owner, act_as
from app.core.errors import NotFound, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.models.orders import Order
from app.repositories.orders.orders import OrderRepository, OrderView
from app.schemas.orders import OrderDetail
from app.services.orders.events import OrderEventKind, order_event
from app.services.orders.views import detail

Etags = Collection[int] | None
"""The versions that an `If-Match` named, if there was one."""


class OrderDesk:
    """Takes an order in hand and puts it back."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.orders = OrderRepository(session)

    async def take(
        self,
        reference: str,
        *,
        version: int | None = None,
        etags: Etags = None,
        reason: str | None = None,
    ) -> Order:
        """The order with this id or number, locked; the history will name the caller and the reason.

        404; 412 `version_mismatch` when the version of the body or of `If-Match` is not the order's.
        """
        await act_as(self.session, reason=reason)
        order = await self.orders.locked(reference)
        if order is None:
            raise NotFound()
        if is_stale(order.version, version, etags):
            raise version_mismatch(order.version)
        return order

    async def put_back(self, order: Order, *events: OrderEventKind) -> OrderDetail:
        """Write the changed order as its next version, tell what has happened, and answer how it stands.

        A draft is nobody's business yet: nothing is told of it.
        """
        order.version += 1
        await self.session.flush()
        view = await self.view(order)
        if view.order.order_number is not None:
            for kind in events:
                await emit(self.session, order_event(kind, view.order, view.items))
        return detail(view, self.principal)

    async def unchanged(self, order: Order) -> OrderDetail:
        """The answer to an act that had been done already."""
        return detail(await self.view(order), self.principal)

    async def view(self, order: Order) -> OrderView:
        """The order as it stands in the database now."""
        view = await self.orders.view(order.id)
        if view is None:
            raise NotFound()
        return view
