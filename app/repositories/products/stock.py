"""The statements that move stock: each is one for all products of an order, with rows locked in ascending id.

They are written in SQL and by tables, which the row guard does not see: every one of them binds the owner.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import ScopedSession
from app.models.products import StockMovement, StockReservation

_COLUMNS = (
    "sku",
    "slug",
    "name",
    "status",
    "price",
    "currency",
    "stock",
    "reserved",
    "track_inventory",
    "low_stock_threshold",
    "version",
)
_LEVELS = ", ".join(f"p.{name}" for name in ("id", *_COLUMNS))

# The rows are locked by a statement of their own. One that locks and changes at once looks at the rows as
# they were when it began: it waits for old versions in whatever order it meets them, and two such statements
# can wait for each other.
LOCK = """
    SELECT p.id FROM products p WHERE p.organization_id = $1 AND p.id = ANY($2::uuid[])
    ORDER BY p.id FOR NO KEY UPDATE
    """

LOCK_OF_ORDER = """
    SELECT p.id FROM stock_reservations r
    JOIN products p ON p.organization_id = r.organization_id AND p.id = r.product_id
    WHERE r.organization_id = $1 AND r.order_id = $2 AND r.status = $3
    ORDER BY p.id FOR NO KEY UPDATE OF p
    """
"""Only those whose reservations are in one state: an edit has locked what the order holds, not what left."""

RESERVE = f"""
    WITH asked AS (
      SELECT a.id, a.quantity
      FROM unnest($2::uuid[], $3::int[]) AS a (id, quantity)),
    wanted AS MATERIALIZED (
      SELECT p.id, asked.quantity, p.stock - p.reserved AS available
      FROM asked JOIN products p ON p.organization_id = $1 AND p.id = asked.id
       AND (asked.quantity < 0 OR (p.deleted_at IS NULL AND p.status = 'active' AND p.track_inventory))
      ORDER BY p.id FOR NO KEY UPDATE OF p),
    moved AS (
      UPDATE products p SET reserved = p.reserved + wanted.quantity FROM wanted
      WHERE p.organization_id = $1 AND p.id = wanted.id
        AND (wanted.quantity < 0 OR p.allow_backorder OR p.stock - p.reserved >= wanted.quantity)
      RETURNING {_LEVELS})
    SELECT asked.quantity, wanted.available, moved.*, asked.id AS product_id,
           wanted.id IS NOT NULL AS is_wanted, moved.id IS NOT NULL AS is_moved,
           COALESCE(known.status = 'active' AND known.deleted_at IS NULL, false) AS is_orderable
    FROM asked
    LEFT JOIN wanted ON wanted.id = asked.id LEFT JOIN moved ON moved.id = asked.id
    LEFT JOIN products known ON known.organization_id = $1 AND known.id = asked.id
    """  # noqa: S608 - the only thing put in is the list of columns above

_RESERVED = (
    *("quantity", "available", "id", *_COLUMNS),
    *("product_id", "is_wanted", "is_moved", "is_orderable"),
)
"""The columns of that statement."""

SETTLE = text(
    f"""
    WITH due AS MATERIALIZED (
      SELECT p.id, r.quantity, p.stock - p.reserved AS available
      FROM stock_reservations r
      JOIN products p ON p.organization_id = r.organization_id AND p.id = r.product_id
      WHERE r.organization_id = :organization_id AND r.order_id = :order_id AND r.status = :from_status
        AND (CAST(:ids AS uuid[]) IS NULL OR r.product_id = ANY (CAST(:ids AS uuid[])))
      ORDER BY p.id FOR NO KEY UPDATE OF p, r),
    moved AS (
      UPDATE products p SET stock = p.stock + due.quantity * CAST(:stock_sign AS int),
                            reserved = p.reserved + due.quantity * CAST(:reserved_sign AS int)
      FROM due
      WHERE p.organization_id = :organization_id AND p.id = due.id
        AND (NOT CAST(:must_be_free AS boolean) OR NOT p.track_inventory OR p.allow_backorder
             OR p.stock - p.reserved >= due.quantity)
      RETURNING {_LEVELS}),
    closed AS (
      UPDATE stock_reservations r SET status = :to_status, closed_at = now() FROM moved
      WHERE r.organization_id = :organization_id AND r.order_id = :order_id AND r.product_id = moved.id)
    SELECT due.quantity, due.available, moved.id IS NOT NULL AS is_moved, moved.*, due.id AS product_id
    FROM due LEFT JOIN moved ON moved.id = due.id
    """  # noqa: S608 - the only thing put in is the list of columns above
)

RESTOCK = text(
    f"""
    WITH due AS MATERIALIZED (
      SELECT p.id, a.quantity
      FROM unnest(CAST(:ids AS uuid[]), CAST(:quantities AS int[])) AS a (id, quantity)
      JOIN stock_reservations r ON r.organization_id = :organization_id AND r.order_id = :order_id
                               AND r.product_id = a.id AND r.status = 'committed'
      JOIN products p ON p.organization_id = :organization_id AND p.id = a.id
      ORDER BY p.id FOR NO KEY UPDATE OF p)
    UPDATE products p SET stock = p.stock + due.quantity FROM due
    WHERE p.organization_id = :organization_id AND p.id = due.id
    RETURNING due.quantity, {_LEVELS}, p.id AS product_id
    """  # noqa: S608 - the only thing put in is the list of columns above
)

DRIFT = text(
    """
    SELECT p.organization_id, p.id AS product_id, p.reserved, COALESCE(held.total, 0) AS held_total
    FROM products p
    LEFT JOIN (SELECT organization_id, product_id, sum(quantity) AS total FROM stock_reservations
               WHERE status = 'held' GROUP BY organization_id, product_id) held
           ON held.organization_id = p.organization_id AND held.product_id = p.id
    WHERE p.reserved <> COALESCE(held.total, 0)
    ORDER BY p.organization_id, p.id
    LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Level:
    """A product whose quantities an act has just changed: what it has now, and by how much they changed."""

    id: UUID
    sku: str | None
    slug: str
    name: str
    status: str
    price: int
    currency: str
    stock: int
    reserved: int
    track_inventory: bool
    low_stock_threshold: int | None
    version: int
    delta_stock: int
    delta_reserved: int

    @property
    def available(self) -> int | None:
        """The pieces that may still be ordered; None when they are not counted."""
        return self.stock - self.reserved if self.track_inventory else None

    @property
    def available_before(self) -> int | None:
        """The same before the act."""
        return None if self.available is None else self.available - self.delta_stock + self.delta_reserved


@dataclass(frozen=True, slots=True)
class Missed:
    """A product that an act found without enough pieces, as it was under its lock."""

    product_id: UUID
    requested: int
    available: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act did: the products that it moved, those that are short, those that are not for sale."""

    moved: list[Level]
    short: list[Missed]
    unorderable: list[UUID]


class StockRepository:
    """The quantities of one organisation's products, and the rows that say who holds and who moved them."""

    def __init__(self, session: ScopedSession, organization_id: UUID) -> None:
        self.session = session
        self.organization_id = organization_id

    async def lock(self, product_ids: Collection[UUID]) -> None:
        """Lock these products in the order of their ids; nobody else moves their stock meanwhile."""
        await self.session.fetch(LOCK, self.organization_id, list(product_ids))

    async def reserve(self, deltas: Mapping[UUID, int]) -> Outcome:
        """Hold pieces of active tracked products that are locked; a negative quantity gives them back."""
        found = await self.session.fetch(RESERVE, self.organization_id, list(deltas), list(deltas.values()))
        rows = [dict(zip(_RESERVED, row, strict=True)) for row in found]
        return Outcome(
            moved=[_level(row, reserved=row["quantity"]) for row in rows if row["is_moved"]],
            short=_missed(row for row in rows if row["is_wanted"] and not row["is_moved"]),
            unorderable=[
                row["product_id"] for row in rows if not row["is_wanted"] and not row["is_orderable"]
            ],
        )

    async def settle(
        self,
        order_id: UUID,
        change: tuple[str, str],
        *,
        stock: int,
        reserved: int,
        retaken: Collection[UUID] | None = None,
    ) -> Outcome:
        """Close an order's reservations; `stock` and `reserved` are the signs with which quantities count.

        `change` is the status that they must have and the one that they get. `retaken` limits the act to
        these products, and to those of them that have the pieces.
        """
        await self.session.fetch(LOCK_OF_ORDER, self.organization_id, order_id, change[0])
        rows = await self._rows(
            SETTLE,
            order_id=order_id,
            from_status=change[0],
            to_status=change[1],
            stock_sign=stock,
            reserved_sign=reserved,
            must_be_free=retaken is not None,
            ids=None if retaken is None else list(retaken),
        )
        return Outcome(
            moved=[
                _level(row, stock=stock * row["quantity"], reserved=reserved * row["quantity"])
                for row in rows
                if row["is_moved"]
            ],
            short=_missed(row for row in rows if not row["is_moved"]),
            unorderable=[],
        )

    async def restock(self, order_id: UUID, quantities: Mapping[UUID, int]) -> list[Level]:
        """Put pieces back on the shelf, of the products whose pieces this order has taken."""
        await self.session.fetch(LOCK_OF_ORDER, self.organization_id, order_id, "committed")
        rows = await self._rows(RESTOCK, order_id=order_id, **_arrays(quantities))
        return [_level(row, stock=row["quantity"]) for row in rows]

    async def held(self, order_id: UUID) -> dict[UUID, int]:
        """What an order holds now, by product. The caller has locked the order's row."""
        rows = await self.session.execute(
            select(StockReservation.product_id, StockReservation.quantity).where(
                StockReservation.organization_id == self.organization_id,
                StockReservation.order_id == order_id,
                StockReservation.status == "held",
            )
        )
        return {row.product_id: row.quantity for row in rows}

    async def write(
        self, reservations: Sequence[Mapping[str, Any]], movements: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write reservations (new, or in place of the pair's row) and movements, in one statement."""
        if not movements:
            return
        owner = {"organization_id": self.organization_id}
        statement = insert(StockMovement.__table__).values([{**row, **owner} for row in movements])  # type: ignore[arg-type]
        if reservations:
            held = upsert(StockReservation.__table__).values([{**row, **owner} for row in reservations])  # type: ignore[arg-type]
            replaced = {name: held.excluded[name] for name in ("quantity", "status", "closed_at")}
            keys = ["organization_id", "order_id", "product_id"]
            statement = statement.add_cte(
                held.on_conflict_do_update(index_elements=keys, set_=replaced).cte("held")
            )
        await (await self.session.connection()).execute(statement)

    async def _rows(self, statement: Any, **values: Any) -> Sequence[RowMapping]:
        connection = await self.session.connection()
        result = await connection.execute(statement, {"organization_id": self.organization_id, **values})
        return result.mappings().all()


async def find_drift(session: ScopedSession, *, limit: int) -> Sequence[RowMapping]:
    """Products of every organisation whose `reserved` is not the sum of what orders hold; at most `limit`."""
    return (await session.execute(DRIFT, {"limit": limit})).mappings().all()


def _arrays(quantities: Mapping[UUID, int]) -> dict[str, Any]:
    return {"ids": list(quantities), "quantities": list(quantities.values())}


def _missed(rows: Iterable[Mapping[Any, Any]]) -> list[Missed]:
    return [Missed(row["product_id"], row["quantity"], row["available"]) for row in rows]


def _level(row: Mapping[Any, Any], *, stock: int = 0, reserved: int = 0) -> Level:
    values = {name: row[name] for name in _COLUMNS}
    return Level(id=row["product_id"], **values, delta_stock=stock, delta_reserved=reserved)
