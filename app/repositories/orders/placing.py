"""The one statement that writes a placed order: quota, number, order, lines, stock and redemption.

The row guard does not see it: the owner is the first parameter of every part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from app.core.acting import acting, acting_values
from app.core.database import ScopedSession
from app.repositories.billing.usage import COUNTED, Counted, Use, counting

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
class Terms:
    """The search terms of an order but for its counter, which comes behind `scope` once it is known."""

    words: Sequence[str]
    scope: str


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
        use: Use,
        terms: Terms,
        items: Sequence[Mapping[str, Any]],
        reservations: Sequence[Mapping[str, Any]] = (),
        movements: Sequence[Mapping[str, Any]] = (),
        redemption: Mapping[str, Any] | None = None,
    ) -> tuple[Counted, Placed | None]:
        """Count an order against the plan, write it and all that belongs to it; rows come without owner.

        Without room in the plan nothing is written but the event of its use: the caller rolls back. What
        `reservations` hold is taken from their products, which the caller has locked and found sufficient.

        It tells the triggers who acts, as `act_as` does, for this statement and the rest of the transaction.
        The counter's row is the last lock of the transaction: orders of one organisation queue for it, and a
        rollback gives the number back.
        """
        names = tuple(name for name in order if name != "organization_id")
        item_names = tuple(name for name in items[0] if name != "organization_id")
        (row,) = await self.session.fetch(
            _placing(names, item_names),
            self.organization_id,
            series.year,
            f"{series.prefix}-{series.year}-",
            list(terms.words),
            terms.scope,
            _json(order),
            *map(_json, (items, reservations, movements, [] if redemption is None else [redemption])),
            *acting_values(self.session),
            *use.values,
        )
        told = len(Counted._fields)
        counted, placed = Counted(*row[:told]), row[told : told + 3]
        return counted, None if placed[0] is None else Placed(*placed)

    async def next_number(self, series: Series) -> str:
        """The next number of a series for an order that exists already as a draft; the last lock as above."""
        (row,) = await self.session.fetch(NEXT_NUMBER, self.organization_id, series.year)
        return series.number(row[0])


COUNTER = """
    INSERT INTO document_counters (organization_id, kind, period, last_value)
    SELECT $1, 'order', $2, 1 {source}
    ON CONFLICT (organization_id, kind, period) DO UPDATE SET last_value = document_counters.last_value + 1
    RETURNING last_value"""

NEXT_NUMBER = COUNTER.format(source="")

RESERVATION = ("order_id", "product_id", "quantity")
MOVEMENT = (
    "id",
    "product_id",
    "order_id",
    "reason",
    "delta_stock",
    "delta_reserved",
    "stock_after",
    "reserved_after",
    "actor_type",
    "actor_id",
)
REDEMPTION = ("order_id", "discount_id", "customer_email_canonical", "amount")


@lru_cache(maxsize=32)
def _placing(order: tuple[str, ...], item: tuple[str, ...]) -> str:
    """The statement for orders and lines with these columns.

    Rows travel as JSON, so that neither their number nor what is absent changes the statement, which
    PostgreSQL then prepares once. Each part draws from the one before it, so that the locks of any two
    orders are taken in one sequence.
    """
    return f"""
        WITH {counting(16)},
        counter AS ({COUNTER.format(source="FROM metric")}),
        number AS (
          SELECT lpad(digits, greatest({NUMBER_DIGITS}, char_length(digits)), '0') AS digits
          FROM (SELECT last_value::text AS digits FROM counter) c),
        placed AS (
          INSERT INTO orders (organization_id, {", ".join(order)}, order_number, search)
          SELECT $1, {_columns(order)}, $3 || digits,
                 array_to_tsvector(array_append($4::text[], $5 || digits))
          FROM number, jsonb_populate_record(NULL::orders, $6::jsonb) AS r
          RETURNING order_number, created_at, updated_at),
        taken AS (
          UPDATE products p SET reserved = p.reserved + r.quantity
          FROM placed, jsonb_populate_recordset(NULL::stock_reservations, $8::jsonb) AS r
          WHERE p.organization_id = $1 AND p.id = r.product_id),
        {_rows("order_items", item, "$7")},
        {_rows("stock_reservations", RESERVATION, "$8")},
        {_rows("stock_movements", MOVEMENT, "$9")},
        {_rows("discount_redemptions", REDEMPTION, "$10")}
        SELECT {COUNTED}, placed.*, {acting(11)}
        FROM terms LEFT JOIN metric ON true LEFT JOIN placed ON true"""  # noqa: S608 - names of the code


def _rows(table: str, names: tuple[str, ...], parameter: str) -> str:
    """The part that inserts rows of a table; their owner is the statement's, whatever they say."""
    source = f"placed, jsonb_populate_recordset(NULL::{table}, {parameter}::jsonb) AS r"
    insert = f"INSERT INTO {table} (organization_id, {', '.join(names)})"
    return f"new_{table} AS ({insert} SELECT $1, {_columns(names)} FROM {source})"  # noqa: S608 - as above


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f"r.{name}" for name in names)


def _json(value: Any) -> str:
    return to_json(value).decode()
