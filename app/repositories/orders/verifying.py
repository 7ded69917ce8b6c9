"""Sums over the money of every organisation's orders that must agree, and numbers that must have no gap."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, func, or_, select, tuple_

from app.core.database import ScopedSession
from app.models.billing import DocumentCounter
from app.models.orders import Order, OrderPayment, Refund
from app.models.team import Organization
from app.repositories.orders.orders import items_json

UNDER_WAY = ("pending", "requires_action")


class Difference(NamedTuple):
    """An order whose sums do not agree; each pair is what is stored and what the rows come to.

    `payments_off` counts its payments that have given back another amount than their refunds say.
    """

    organization_id: UUID
    order_id: UUID
    amount_paid: int
    applied: int
    amount_refunded: int
    succeeded: int
    amount_refund_pending: int
    under_way: int
    payments_off: int


class SeriesGap(NamedTuple):
    """A series of order numbers that is not 1, 2, 3 … up to its counter."""

    organization_id: UUID
    period: str
    last_value: int
    numbers: int
    highest: int


async def find_differences(session: ScopedSession, limit: int) -> list[Difference]:
    """Orders whose payments or refunds come to other amounts than the order says; at most `limit`."""
    payments = _payments()
    sums = (
        select(
            payments.c.organization_id,
            payments.c.order_id,
            *(
                func.sum(payments.c[name]).filter(payments.c.status == "applied").label(name)
                for name in ("amount", "succeeded", "under_way")
            ),
            func.count().filter(payments.c.is_off).label("payments_off"),
        )
        .group_by(payments.c.organization_id, payments.c.order_id)
        .subquery()
    )
    applied, succeeded, under_way, payments_off = (
        func.coalesce(sums.c[name], 0) for name in ("amount", "succeeded", "under_way", "payments_off")
    )
    statement = (
        select(
            Order.organization_id,
            Order.id,
            Order.amount_paid,
            cast(applied, BigInteger),
            Order.amount_refunded,
            cast(succeeded, BigInteger),
            Order.amount_refund_pending,
            cast(under_way, BigInteger),
            payments_off,
        )
        .outerjoin(sums, and_(sums.c.organization_id == Order.organization_id, sums.c.order_id == Order.id))
        .where(
            or_(
                Order.amount_paid != applied,
                Order.amount_refunded != succeeded,
                Order.amount_refund_pending != under_way,
                payments_off > 0,
            )
        )
        .order_by(Order.organization_id, Order.id)
        .limit(limit)
    )
    return [Difference(*row) for row in (await session.execute(statement)).all()]


async def find_gaps(session: ScopedSession, limit: int) -> list[SeriesGap]:
    """Series of living organisations whose numbers are not all those up to their counter; at most `limit`."""
    period, number = _number_parts()
    numbers = (
        select(
            Order.organization_id,
            period.label("period"),
            func.count().label("numbers"),
            func.count(number.distinct()).label("different"),
            func.max(number).label("highest"),
        )
        .where(Order.order_number.is_not(None))
        .group_by(Order.organization_id, period)
        .subquery()
    )
    counters = (
        select(DocumentCounter.organization_id, DocumentCounter.period, DocumentCounter.last_value)
        .join(Organization, Organization.id == DocumentCounter.organization_id)
        .where(DocumentCounter.kind == "order")
        .subquery()
    )
    last_value, count, different, highest = (
        func.coalesce(value, 0)
        for value in (counters.c.last_value, numbers.c.numbers, numbers.c.different, numbers.c.highest)
    )
    owner = func.coalesce(counters.c.organization_id, numbers.c.organization_id)
    year = func.coalesce(counters.c.period, numbers.c.period)
    statement = (
        select(owner, year, last_value, count, highest)
        .select_from(counters)
        .join(
            numbers,
            and_(
                numbers.c.organization_id == counters.c.organization_id,
                numbers.c.period == counters.c.period,
            ),
            full=True,
        )
        .where(or_(last_value != count, last_value != different, last_value != highest))
        .order_by(owner, year)
        .limit(limit)
    )
    return [SeriesGap(*row) for row in (await session.execute(statement)).all()]


async def read_orders(
    session: ScopedSession, keys: Collection[tuple[UUID, UUID]]
) -> list[tuple[Order, list[dict[str, Any]]]]:
    """These orders, by organisation and id, each with its lines."""
    return await _with_items(session, tuple_(Order.organization_id, Order.id).in_(keys))


async def last_orders(
    session: ScopedSession, gaps: Sequence[SeriesGap]
) -> list[tuple[Order, list[dict[str, Any]]]]:
    """The orders with the highest number of these series, each with its lines."""
    period, number = _number_parts()
    keys = [(gap.organization_id, gap.period, gap.highest) for gap in gaps]
    return await _with_items(session, tuple_(Order.organization_id, period, number).in_(keys))


async def _with_items(
    session: ScopedSession, condition: ColumnElement[bool]
) -> list[tuple[Order, list[dict[str, Any]]]]:
    statement: Select[Any] = select(Order, items_json()).where(condition).order_by(Order.id)
    return [(order, items) for order, items in (await session.execute(statement)).all()]


def _payments() -> Any:
    """Every payment with the refunds of it that succeeded and those under way, and whether it agrees."""
    sums = (
        select(
            Refund.organization_id,
            Refund.payment_id,
            func.sum(Refund.amount).filter(Refund.status == "succeeded").label("succeeded"),
            func.sum(Refund.amount).filter(Refund.status.in_(UNDER_WAY)).label("under_way"),
        )
        .group_by(Refund.organization_id, Refund.payment_id)
        .subquery()
    )
    succeeded, under_way = (func.coalesce(sums.c[name], 0) for name in ("succeeded", "under_way"))
    is_off = or_(OrderPayment.amount_refunded != succeeded, OrderPayment.amount_refund_pending != under_way)
    return (
        select(
            OrderPayment.organization_id,
            OrderPayment.order_id,
            OrderPayment.status,
            OrderPayment.amount,
            succeeded.label("succeeded"),
            under_way.label("under_way"),
            is_off.label("is_off"),
        )
        .outerjoin(
            sums,
            and_(
                sums.c.organization_id == OrderPayment.organization_id,
                sums.c.payment_id == OrderPayment.id,
            ),
        )
        .subquery()
    )


def _number_parts() -> tuple[ColumnElement[str], ColumnElement[int]]:
    """The year and the counter in an order's number, `{prefix}-{year}-{counter}`."""
    counter = func.split_part(Order.order_number, "-", 3)
    return func.split_part(Order.order_number, "-", 2), cast(counter, BigInteger)
