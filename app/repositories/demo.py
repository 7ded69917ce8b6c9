"""What only demo data asks of the database: one run at a time, what exists already, and times in the past.

The statements that date rows name tables, which the row guard does not see: the owner is a bound parameter.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, TextClause, cast, func, select, text

from app.core.database import ScopedSession
from app.models.base import Base
from app.models.billing import BillingCheckout
from app.models.orders import DiscountRedemption, Order, OrderItem, OrderPayment, OrderStatusHistory
from app.models.products import Product, StockMovement, StockReservation
from app.models.team import Organization

LOCK = 0x4C756E656F44656D
"""The advisory lock of a run: `LuneoDem` in ASCII."""

KEY = "demo_order"
"""The member of an order's metadata that says which demo order it is."""

PAID_KEY = "demo_payment"
"""The member that says which of the orders it is that were paid through the sandbox."""

MOMENTS = (
    "created_at",
    "updated_at",
    "placed_at",
    "paid_at",
    "shipped_at",
    "delivered_at",
    "completed_at",
    "cancelled_at",
    "closed_at",
    "received_at",
    "released_at",
)
"""The columns that say when something was done."""


@dataclass(frozen=True, slots=True)
class MadeOrder:
    """A demo order that exists: the order itself, its first line, and what shows which acts it has seen.

    `fulfilled` counts the pieces that have left, `hold_changes` how often a hold was set or released.
    """

    order: Order
    first_item: UUID
    fulfilled: int
    hold_changes: int


@asynccontextmanager
async def one_run_at_a_time(session: ScopedSession) -> AsyncIterator[None]:
    """Wait until no other process makes demo data, and keep others out inside the block.

    The lock belongs to the connection, so a killed process leaves none behind; `session` runs in autocommit.
    """
    while not await session.scalar(select(func.pg_try_advisory_lock(LOCK))):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)
    try:
        yield
    finally:
        await session.execute(select(func.pg_advisory_unlock(LOCK)))


async def founded_at(session: ScopedSession) -> datetime | None:
    """When the session's organisation was made; None while it does not exist."""
    found: datetime | None = await session.scalar(select(Organization.created_at))
    return found


async def made_products(session: ScopedSession) -> dict[str, UUID]:
    """The products of the session's organisation by SKU."""
    statement = select(Product.sku, Product.id).where(Product.sku.is_not(None), Product.deleted_at.is_(None))
    return {sku: product_id for sku, product_id in (await session.execute(statement)).all() if sku}


async def made_orders(session: ScopedSession) -> dict[int, MadeOrder]:
    """The demo orders of the session's organisation by their number in the plan."""
    of_order = (OrderItem.organization_id == Order.organization_id, OrderItem.order_id == Order.id)
    first = select(OrderItem.id).where(*of_order).order_by(OrderItem.position).limit(1).scalar_subquery()
    fulfilled = select(func.sum(OrderItem.fulfilled_quantity)).where(*of_order).scalar_subquery()
    hold_changes = (
        select(func.count(OrderStatusHistory.position))
        .where(
            OrderStatusHistory.organization_id == Order.organization_id,
            OrderStatusHistory.order_id == Order.id,
            OrderStatusHistory.field == "hold_reason",
        )
        .scalar_subquery()
    )
    number = cast(Order.metadata_[KEY].astext, Integer)
    statement = select(number, Order, first, fulfilled, hold_changes).where(Order.metadata_.has_key(KEY))
    return {row[0]: MadeOrder(*row[1:]) for row in (await session.execute(statement)).all()}


async def has_bought_plan(session: ScopedSession) -> bool:
    """Whether the session's organisation ever opened a page on which a plan is bought."""
    return await session.scalar(select(BillingCheckout.id).limit(1)) is not None


async def orders_for_checkout(session: ScopedSession) -> int:
    """How many demo orders were placed to be paid through the sandbox."""
    statement = select(func.count()).select_from(Order).where(Order.metadata_.has_key(PAID_KEY))
    return await session.scalar(statement) or 0


async def allow_dating(session: ScopedSession) -> None:
    """Let this transaction write history and movements anew: they are append-only, but a purge may delete."""
    await session.execute(text("SELECT set_config('luneo.purge', 'on', true)"))


async def date_products(session: ScopedSession, organization_id: UUID, moment: datetime) -> None:
    """Say that the products of an organisation, and their first pieces, are there since `moment`."""
    await session.execute(DATE_PRODUCTS, {"organization_id": organization_id, "moment": moment})


async def date_order(session: ScopedSession, organization_id: UUID, order_id: UUID, moment: datetime) -> None:
    """Say that whatever this transaction did to an order was done at `moment`, which is past.

    What was done before is dated before `moment`, so every later time is one of this transaction. Of what is
    long past nobody is told, neither by mail nor by a notice.
    """
    values = {"organization_id": organization_id, "order_id": order_id, "moment": moment}
    await session.execute(DATE_ORDER, values)


def _no_later(column: str) -> str:
    return f"CASE WHEN {column} > :moment THEN :moment ELSE {column} END"


def _names(model: type[Base]) -> list[str]:
    return [column.name for column in model.__table__.columns]


def _dated(model: type[Base], rows: str, more: str = "") -> list[str]:
    """The part of a statement that moves the moments of rows which lie after `:moment` to it."""
    table = model.__tablename__
    rows = rows.replace(OWNER, f"{table}.{OWNER}")
    moved = ", ".join(f"{name} = {_no_later(name)}" for name in _names(model) if name in MOMENTS)
    return [f"dated_{table} AS (UPDATE {table} SET {moved}{more} WHERE {rows})"]  # noqa: S608 - constants


def _rewritten(model: type[Base], rows: str) -> list[str]:
    """The parts that do the same to append-only rows: they are deleted and written anew."""
    table = model.__tablename__
    rows = rows.replace(OWNER, f"{table}.{OWNER}")
    listed = ", ".join(_names(model))
    values = ", ".join(":moment" if name == "created_at" else name for name in _names(model))
    return [
        f"old_{table} AS (DELETE FROM {table} WHERE {rows} AND created_at > :moment RETURNING *)",  # noqa: S608 - names of ours
        f"new_{table} AS (INSERT INTO {table} ({listed}) SELECT {values} FROM old_{table})",  # noqa: S608 - names of ours
    ]


def _statement(*parts: Sequence[str]) -> TextClause:
    return text(f"WITH {', '.join(part for group in parts for part in group)} SELECT 1")


OWNER = "organization_id = :organization_id"
OF_ORDER = f"{OWNER} AND order_id = :order_id"
HELD_UNTIL = (
    ", reservation_expires_at = CASE WHEN placed_at > :moment"
    " THEN reservation_expires_at - (placed_at - :moment) ELSE reservation_expires_at END"
)
"""What was placed earlier is held until earlier."""

TOLD = "2 days"
"""Nobody is told of what lies further back: thousands of mails and notices would delay the first real one."""

DATE_PRODUCTS = _statement(_dated(Product, OWNER), _rewritten(StockMovement, OWNER))
DATE_ORDER = _statement(
    _dated(Order, f"{OWNER} AND id = :order_id", HELD_UNTIL),
    _dated(OrderPayment, OF_ORDER),
    _dated(StockReservation, OF_ORDER),
    _dated(DiscountRedemption, OF_ORDER),
    _rewritten(OrderStatusHistory, OF_ORDER),
    _rewritten(StockMovement, OF_ORDER),
    (
        "untold AS (UPDATE event_outbox SET has_handlers = false"  # noqa: S608 - constants
        f" WHERE {OWNER} AND has_handlers AND :moment < now() - interval '{TOLD}')",
    ),
)
