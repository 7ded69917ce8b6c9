"""The one statement that writes a placed order: number, order, lines, reservations, movements and redemption.

It is written by tables, which the row guard does not see: the owner is a bound parameter of every part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from pydantic_core import to_jsonable_python
from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    column,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import ScopedSession
from app.models.billing import DocumentCounter
from app.models.orders import DiscountRedemption, Order, OrderItem
from app.models.products import StockMovement, StockReservation

ORDERS = cast("Table", Order.__table__)
ITEMS = cast("Table", OrderItem.__table__)
RESERVATIONS = cast("Table", StockReservation.__table__)
MOVEMENTS = cast("Table", StockMovement.__table__)
REDEMPTIONS = cast("Table", DiscountRedemption.__table__)
COUNTERS = cast("Table", DocumentCounter.__table__)

NUMBER_DIGITS = 6
"""A number has at least so many digits, and more when it needs them."""


@dataclass(frozen=True, slots=True)
class Series:
    """Where an order's number comes from: `{prefix}-{year}-{counter}`, gapless within the year."""

    prefix: str
    year: str

    def number(self, counter: int) -> str:
        """The number of an order that is the `counter`th of its series."""
        return f"{self.prefix}-{self.year}-{counter:0{NUMBER_DIGITS}d}"


@dataclass(frozen=True, slots=True)
class Placed:
    """What the database gave to a new order."""

    order_number: str
    created_at: datetime
    updated_at: datetime


class PlacingRepository:
    """Writes new orders of one organisation."""

    def __init__(self, session: ScopedSession, organization_id: UUID) -> None:
        self.session = session
        self.organization_id = organization_id

    async def place(
        self,
        order: Mapping[str, Any],
        *,
        series: Series,
        terms: Sequence[str],
        term_scope: str,
        items: Sequence[Mapping[str, Any]],
        reservations: Sequence[Mapping[str, Any]] = (),
        movements: Sequence[Mapping[str, Any]] = (),
        redemption: Mapping[str, Any] | None = None,
    ) -> Placed:
        """Write an order and all that belongs to it; rows are given without their owner.

        The counter's row is the last lock of the transaction: orders of one organisation queue for it, and a
        rollback gives the number back. `terms` are the search terms but for the counter, which is added here
        behind `term_scope`.
        """
        counter = self._counter(series).cte("counter")
        digits = sql_cast(counter.c.last_value, Text)
        padded = func.lpad(
            digits, func.greatest(literal(NUMBER_DIGITS, Integer), func.char_length(digits)), "0"
        )
        placed = self._order(order, counter, series, padded, terms, term_scope)
        parts = [self._records(ITEMS, items, "line")]
        if reservations:
            parts.append(self._records(RESERVATIONS, reservations, "held"))
            parts.append(self._records(MOVEMENTS, movements, "moved"))
        if redemption is not None:
            parts.append(self._records(REDEMPTIONS, [redemption], "redeemed"))
        statement: Select[Any] = select(placed.c.order_number, placed.c.created_at, placed.c.updated_at)
        statement = statement.add_cte(*parts)
        row = (await (await self.session.connection()).execute(statement)).one()
        return Placed(row.order_number, row.created_at, row.updated_at)

    async def next_number(self, series: Series) -> str:
        """The next number of a series for an order that exists already as a draft; the last lock as above."""
        connection = await self.session.connection()
        return series.number((await connection.execute(self._counter(series))).scalar_one())

    def _counter(self, series: Series) -> Any:
        first = upsert(COUNTERS).values(
            organization_id=self.organization_id, kind="order", period=series.year, last_value=1
        )
        return first.on_conflict_do_update(
            index_elements=["organization_id", "kind", "period"],
            set_={"last_value": COUNTERS.c.last_value + 1},
        ).returning(COUNTERS.c.last_value)

    def _order(
        self,
        order: Mapping[str, Any],
        counter: CTE,
        series: Series,
        padded: ColumnElement[str],
        terms: Sequence[str],
        term_scope: str,
    ) -> CTE:
        known = {**order, "organization_id": self.organization_id}
        values = [literal(value, ORDERS.c[name].type) for name, value in known.items()]
        number = literal(f"{series.prefix}-{series.year}-", Text) + padded
        words = func.array_append(sql_cast(list(terms), ARRAY(Text)), literal(term_scope, Text) + padded)
        source = select(*values, number, func.array_to_tsvector(words)).select_from(counter)
        return (
            insert(ORDERS)
            .from_select([*known, "order_number", "search"], source, include_defaults=False)
            .returning(ORDERS.c.order_number, ORDERS.c.created_at, ORDERS.c.updated_at)
            .cte("placed")
        )

    def _records(self, table: Table, rows: Sequence[Mapping[str, Any]], alias: str) -> CTE:
        """Insert rows that travel as one JSON parameter, so that their number never changes the statement."""
        names = [name for name in rows[0] if name != "organization_id"]
        source = (
            func.jsonb_to_recordset(literal(to_jsonable_python([dict(row) for row in rows]), JSONB))
            .table_valued(*(column(name, table.c[name].type) for name in names))
            .render_derived(name=alias, with_types=True)
        )
        chosen = select(
            literal(self.organization_id, table.c.organization_id.type), *(source.c[n] for n in names)
        )
        return (
            insert(table)
            .from_select(["organization_id", *names], chosen, include_defaults=False)
            .cte(f"new_{alias}")
        )
