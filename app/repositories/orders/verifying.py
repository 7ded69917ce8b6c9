"""Sums over the money of every organisation's orders that must agree, and series that must have no gap."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database import ScopedSession
from app.models.billing import DocumentCounter, Invoice
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
    """A series of numbers that is not 1, 2, 3 … up to its counter.

    `kind` says what is numbered: order, invoice or credit_note.
    """

    organization_id: UUID
    kind: str
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
    numbered = _numbered()
    series = (numbered.c.organization_id, numbered.c.kind, numbered.c.period)
    numbers = (
        select(
            *series,
            func.count().label("numbers"),
            func.count(numbered.c.number.distinct()).label("different"),
            func.max(numbered.c.number).label("highest"),
        )
        .join(Organization, Organization.id == numbered.c.organization_id)
        .group_by(*series)
        .subquery()
    )
    counters = (
        select(
            DocumentCounter.organization_id,
            DocumentCounter.kind,
            DocumentCounter.period,
            DocumentCounter.last_value,
        )
        .join(Organization, Organization.id == DocumentCounter.organization_id)
        .subquery()
    )
    last_value, count, different, highest = (
        func.coalesce(value, 0)
        for value in (counters.c.last_value, numbers.c.numbers, numbers.c.different, numbers.c.highest)
    )
    names = ("organization_id", "kind", "period")
    which = [func.coalesce(counters.c[name], numbers.c[name]) for name in names]
    statement: Select[Any] = (
        select(*which, last_value, count, highest)
        .select_from(counters)
        .join(numbers, and_(*(numbers.c[name] == counters.c[name] for name in names)), full=True)
        .where(or_(last_value != count, last_value != different, last_value != highest))
        .order_by(*which)
        .limit(limit)
    )
    return [SeriesGap(*row) for row in (await session.execute(statement)).all()]


async def read_orders(
    session: ScopedSession, keys: Collection[tuple[UUID, UUID]]
) -> list[tuple[Order, list[dict[str, Any]]]]:
    """These orders, by organisation and id, each with its lines."""
    statement = (
        select(Order, items_json())
        .where(tuple_(Order.organization_id, Order.id).in_(keys))
        .order_by(Order.id)
    )
    return [(order, items) for order, items in (await session.execute(statement)).all()]


async def last_orders(
    session: ScopedSession, gaps: Sequence[SeriesGap]
) -> list[tuple[Order, list[dict[str, Any]], str]]:
    """The orders with the highest number of these series, each with its lines and the series' kind."""
    numbered = _numbered()
    keys = [(gap.organization_id, gap.kind, gap.period, gap.highest) for gap in gaps]
    number = (numbered.c.organization_id, numbered.c.kind, numbered.c.period, numbered.c.number)
    statement = (
        select(Order, items_json(), numbered.c.kind)
        .join(
            numbered,
            and_(numbered.c.organization_id == Order.organization_id, numbered.c.order_id == Order.id),
        )
        .where(tuple_(*number).in_(keys))
        .order_by(Order.id, numbered.c.kind)
    )
    return [(order, items, kind) for order, items, kind in (await session.execute(statement)).all()]


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


def _numbered() -> Any:
    """Every number of a series, with the order that has it or whose document has it.

    Documents that are no order's are those of the payment provider, with its numbers.
    """
    document = case((Invoice.kind == "order", "invoice"), else_="credit_note")
    orders = select(
        Order.organization_id,
        literal("order").label("kind"),
        Order.id.label("order_id"),
        *_number_parts(Order.order_number),
    ).where(Order.order_number.is_not(None))
    documents = select(
        Invoice.organization_id,
        document.label("kind"),
        Invoice.order_id,
        *_number_parts(Invoice.invoice_number),
    ).where(Invoice.order_id.is_not(None), Invoice.invoice_number.is_not(None))
    return union_all(orders, documents).subquery()


def _number_parts(
    number: InstrumentedAttribute[str | None],
) -> tuple[ColumnElement[str], ColumnElement[int]]:
    """The year and the counter in a number, `{prefix}-{year}-{counter}`."""
    counter = cast(func.split_part(number, "-", 3), BigInteger)
    return func.split_part(number, "-", 2).label("period"), counter.label("number")
