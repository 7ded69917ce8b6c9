"""Questions to the revenue ledger: its entries, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.core.database import ScopedSession
from app.models.billing import RevenueEntry
from app.models.orders import Order, OrderItem, OrderSettings, Refund

ENTRY = (
    RevenueEntry.id,
    RevenueEntry.source,
    RevenueEntry.account,
    RevenueEntry.entry_type,
    RevenueEntry.amount,
    RevenueEntry.currency,
    RevenueEntry.description,
    RevenueEntry.source_ref,
    RevenueEntry.order_id,
    RevenueEntry.invoice_id,
    RevenueEntry.recorded_at,
)


ITEM = cast(OrderItem.product_id, Text)

GIVEN_BACK = ("refund", "refund_reversal")


class Sum(NamedTuple):
    """What the entries of one kind come to in one group; the key is a day, a source or a product's id."""

    currency: str
    key: str | None
    entry_type: str
    amount: int


@dataclass(frozen=True, slots=True)
class Span:
    """Entries of an account, recorded from `since` on and, if it has an end, before `until`."""

    account: str
    since: datetime
    until: datetime | None
    currency: str | None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What its entries meet."""
        found = [RevenueEntry.account == self.account, RevenueEntry.recorded_at >= self.since]
        if self.until is not None:
            found.append(RevenueEntry.recorded_at < self.until)
        if self.currency is not None:
            found.append(RevenueEntry.currency == self.currency)
        return found


class RevenueRepository:
    """The ledger of the organisation."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    def matching(self, since: datetime | None, until: datetime | None, **wanted: Any) -> Select[Any]:
        """The statement of the list; `created_at` is when the money moved."""
        members: tuple[Any, ...] = (RevenueEntry.recorded_at.label("created_at"), *ENTRY)
        statement = select(*members).select_from(RevenueEntry)
        if since is not None:
            statement = statement.where(RevenueEntry.recorded_at >= since)
        if until is not None:
            statement = statement.where(RevenueEntry.recorded_at < until)
        for name, value in wanted.items():
            if value is not None:
                statement = statement.where(getattr(RevenueEntry, name) == value)
        return statement

    async def time_zone(self) -> str | None:
        """That of the order settings, once there are some."""
        found: str | None = await self.session.scalar(select(OrderSettings.time_zone))
        return found

    async def by_period(self, span: Span, unit: str, time_zone: str) -> Sequence[Sum]:
        """Sums by days, weeks or months of a time zone; the key is the first day."""
        local = func.timezone(time_zone, RevenueEntry.recorded_at)
        return await self._sums(span, cast(cast(func.date_trunc(unit, local), Date), Text))

    async def by_source(self, span: Span) -> Sequence[Sum]:
        """Sums by sources."""
        return await self._sums(span, RevenueEntry.source)

    async def by_product(self, span: Span) -> tuple[Sequence[Sum], dict[str, str]]:
        """What of the sums belongs to products, and their names; the rest is shipping and goodwill.

        A charge of a whole order is what its lines cost; a refund names its lines.
        """
        sums: list[Sum] = []
        names: dict[str, str] = {}
        for statement in (_charged(span), _refunded(span)):
            for row in (await self.session.execute(statement)).all():
                sums.append(Sum(row.currency, row.key, row.entry_type, int(row.amount)))
                names.setdefault(row.key, row.name)
        return sums, names

    async def _sums(self, span: Span, key: Any) -> Sequence[Sum]:
        statement = (
            select(RevenueEntry.currency, key, RevenueEntry.entry_type, func.sum(RevenueEntry.amount))
            .select_from(RevenueEntry)
            .where(*span.conditions())
            .group_by(RevenueEntry.currency, key, RevenueEntry.entry_type)
        )
        rows = (await self.session.execute(statement)).all()
        # PostgreSQL's sum of bigints is a numeric.
        return [Sum(row[0], row[1], row[2], int(row[3])) for row in rows]


def _owner(model: Any) -> ColumnElement[bool]:
    """A joined row is the entry's owner's, so that its index is used."""
    condition: ColumnElement[bool] = model.organization_id == RevenueEntry.organization_id
    return condition


def _charged(span: Span) -> Select[Any]:
    """What the lines of orders cost that were charged as a whole, by product."""
    members: tuple[Any, ...] = (
        RevenueEntry.currency,
        ITEM.label("key"),
        func.max(OrderItem.name).label("name"),
        literal("charge").label("entry_type"),
        func.sum(OrderItem.total_amount).label("amount"),
    )
    return (
        select(*members)
        .select_from(RevenueEntry)
        .join(
            Order,
            and_(
                _owner(Order),
                Order.id == RevenueEntry.order_id,
                Order.total_amount == RevenueEntry.amount,
            ),
        )
        .join(OrderItem, and_(_owner(OrderItem), OrderItem.order_id == Order.id))
        .where(*span.conditions(), RevenueEntry.entry_type == "charge", ITEM.is_not(None))
        .group_by(RevenueEntry.currency, ITEM)
    )


def _refunded(span: Span) -> Select[Any]:
    """What refunds say of their lines, by product and kind of entry."""
    line = (
        func.jsonb_array_elements(Refund.lines)
        .table_valued(column("value", JSONB), name="line")
        .render_derived(name="line")
    )
    value = line.c.value
    amount = cast(value["amount"].astext, BigInteger)
    is_its = and_(
        _owner(Refund),
        Refund.order_id == RevenueEntry.order_id,
        or_(
            cast(Refund.id, Text) == RevenueEntry.source_ref,
            Refund.stripe_refund_id == RevenueEntry.source_ref,
        ),
    )
    is_of_line = and_(
        _owner(OrderItem),
        OrderItem.order_id == Refund.order_id,
        cast(OrderItem.id, Text) == value["item_id"].astext,
    )
    members: tuple[Any, ...] = (
        RevenueEntry.currency,
        ITEM.label("key"),
        func.max(OrderItem.name).label("name"),
        RevenueEntry.entry_type,
        func.sum(case((RevenueEntry.entry_type == "refund", -amount), else_=amount)).label("amount"),
    )
    return (
        select(*members)
        .select_from(RevenueEntry)
        .join(Refund, is_its)
        .join(line, literal(True))
        .join(OrderItem, is_of_line)
        .where(*span.conditions(), RevenueEntry.entry_type.in_(GIVEN_BACK), ITEM.is_not(None))
        .group_by(RevenueEntry.currency, ITEM, RevenueEntry.entry_type)
    )
