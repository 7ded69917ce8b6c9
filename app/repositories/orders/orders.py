"""Questions to orders: finding, locking and listing them, each with its lines in the same statement."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, TSQUERY, aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute

from app.models.orders import Order, OrderItem, OrderPayment, OrderStatusHistory, Refund
from app.repositories.base import Repository
from app.repositories.orders.narrowed import Narrowed

ORDER_NUMBER = re.compile(r"[A-Z0-9]{1,8}-[0-9]{4}-[0-9]{6,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with its lines and what has happened to it; all but the order as JSON values."""

    order: Order
    items: list[dict[str, Any]]
    history: list[dict[str, Any]]
    payments: list[dict[str, Any]]
    refunds: list[dict[str, Any]]


class OrderRepository(Narrowed[Order]):
    """Orders of the organisation."""

    model: ClassVar[type[Order]] = Order

    async def locked(self, reference: str) -> Order | None:
        """The order with this id or number; nobody else changes it until the transaction ends."""
        condition = named(reference)
        return None if condition is None else await self.one(condition, *self.mine(), lock=True)

    async def id_of(self, reference: str) -> UUID | None:
        """The id of the order with this id or number."""
        condition = named(reference)
        if condition is None:
            return None
        found: UUID | None = await self.session.scalar(select(Order.id).where(condition, *self.mine()))
        return found

    async def payment_moved_since(self, order_id: UUID, moment: datetime) -> bool:
        """Whether the payment status of an order has changed since that moment of the database's clock."""
        statement = select(literal(1)).where(
            OrderStatusHistory.order_id == order_id,
            OrderStatusHistory.field == "payment_status",
            OrderStatusHistory.created_at > moment,
            *self.mine(OrderStatusHistory),
        )
        return await self.session.scalar(statement.limit(1)) is not None

    async def view(self, reference: str | UUID) -> OrderView | None:
        """The order with this id or number and everything about it, in one statement."""
        condition = named(str(reference))
        if condition is None:
            return None
        statement = (
            select(
                Order,
                items_json().label("items"),
                _of_order(OrderStatusHistory, OrderStatusHistory.position).label("history"),
                _of_order(OrderPayment, OrderPayment.id).label("payments"),
                _of_order(Refund, Refund.id).label("refunds"),
            )
            .where(condition, *self.mine())
            .execution_options(populate_existing=True)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else OrderView(*row)

    def matching(self, **filters: Any) -> Select[Any]:
        """The statement of a list: the ids of its orders, with `created_at`."""
        columns: tuple[Any, ...] = (Order.created_at, Order.id)
        statement = select(*columns).select_from(Order)
        for name, value in filters.items():
            if value is not None:
                statement = statement.where(CONDITIONS[name](value))
        return statement

    async def items(self, order_id: UUID) -> list[OrderItem]:
        """The lines of an order by position; the caller has locked the order."""
        mine = self.mine(OrderItem)
        statement = (
            select(OrderItem).where(OrderItem.order_id == order_id, *mine).order_by(OrderItem.position)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def replace_items(self, order_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
        """Give an order these lines instead of those that it has; as many statements for two as for many."""
        gone = delete(OrderItem).where(OrderItem.order_id == order_id)
        await self.session.execute(gone.execution_options(synchronize_session=False))
        self.session.add_all([OrderItem(**row) for row in rows])
        await self.session.flush()


class HistoryRepository(Repository[OrderStatusHistory]):
    """What has happened to orders."""

    model: ClassVar[type[OrderStatusHistory]] = OrderStatusHistory

    async def after(self, order_id: UUID, position: int, limit: int) -> list[OrderStatusHistory]:
        """An order's changes behind a position; positions count from 1 without gaps."""
        statement = (
            select(OrderStatusHistory)
            .where(OrderStatusHistory.order_id == order_id, OrderStatusHistory.position > position)
            .order_by(OrderStatusHistory.position)
            .limit(limit)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def count(self, order_id: UUID) -> int:
        """How many changes an order has seen."""
        statement = select(func.count(OrderStatusHistory.position)).where(
            OrderStatusHistory.order_id == order_id
        )
        return int(await self.session.scalar(statement) or 0)


def named(reference: str) -> ColumnElement[bool] | None:
    """The condition on the order that an id or a number names; None when the text is neither."""
    if ORDER_NUMBER.fullmatch(reference):
        return Order.order_number == reference
    try:
        return Order.id == UUID(reference)
    except ValueError:
        return None


def items_json() -> ColumnElement[list[dict[str, Any]]]:
    """The lines of the order of the outer statement, by position."""
    return _of_order(OrderItem, OrderItem.position)


def terms_vector(terms: list[str]) -> ColumnElement[str]:
    """Search terms as the value of a `tsvector` column."""
    return func.array_to_tsvector(cast(terms, ARRAY(Text)))


def _of_order(model: type[Any], order: InstrumentedAttribute[Any]) -> ColumnElement[list[dict[str, Any]]]:
    """The rows of `model` that belong to the order of the outer statement, as a JSON list.

    It is a subquery of ORM entities, hence the row guard narrows it like any other.
    """
    members: list[Any] = []
    for attribute in model.__mapper__.column_attrs:
        if attribute.key != "organization_id":
            members += [literal(attribute.columns[0].name), getattr(model, attribute.key)]
    rows = func.jsonb_agg(aggregate_order_by(func.jsonb_build_object(*members), order))
    return (
        select(func.coalesce(rows, literal([], JSONB), type_=JSONB))
        .select_from(model)
        .where(model.organization_id == Order.organization_id, model.order_id == Order.id)
        .correlate(Order)
        .scalar_subquery()
    )


def _on_hold(is_on_hold: bool) -> ColumnElement[bool]:
    return Order.hold_reason.is_not(None) if is_on_hold else Order.hold_reason.is_(None)


def _has_product(product_id: UUID) -> ColumnElement[bool]:
    lines = select(OrderItem.id).where(OrderItem.order_id == Order.id, OrderItem.product_id == product_id)
    return lines.exists()


CONDITIONS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "status": Order.status.in_,
    "payment_status": Order.payment_status.in_,
    "on_hold": _on_hold,
    "tsquery": lambda value: Order.search.op("@@")(cast(literal(value), TSQUERY)),
    "product_id": _has_product,
    "customer_email": lambda value: Order.customer_email_canonical == value,
    "since": lambda value: Order.created_at >= value,
    "until": lambda value: Order.created_at < value,
    "min_total": lambda value: Order.total_amount >= value,
    "max_total": lambda value: Order.total_amount <= value,
}
"""What each filter of the list means."""
