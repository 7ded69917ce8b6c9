"""Stock: what orders hold, take and give back, what staff correct, and what is told when pieces run out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.access import Principal
from app.core.database import ScopedSession
from app.core.errors import Conflict, NotFound, translate_constraint
from app.core.events import Event, emit, emit_all
from app.core.ids import uuid7
from app.models.products import MAX_STOCK, Product, StockReservation
from app.repositories.products import Level, Missed, ProductRepository, StockRepository, find_drift
from app.services.products.events import ProductOutOfStock, ProductStockLow, StockDriftDetected, facts_of
from app.services.products.holding import LockedProduct, ReservedProduct

MAX_ALERTS = 1000
"""So many products at most are reported by one verification."""


def stock_out_of_range() -> Conflict:
    """409 for more pieces than are counted."""
    return Conflict(
        "stock_out_of_range",
        f"A product has at most {MAX_STOCK} pieces on hand, and as many held; send less.",
    )


translate_constraint("products_stock", stock_out_of_range())
translate_constraint("products_reserved", stock_out_of_range())


@dataclass(frozen=True, slots=True)
class Actor:
    """Who moves stock, as the history of movements names them: user, api_key, stripe, customer or system."""

    type: str
    id: str | None = None


class StockService:
    """Moves the stock of one organisation; nothing else does.

    Whoever acts for an order holds the lock of its row. Each act is one statement on the products, however
    many they are, and one that writes reservations and movements.
    """

    def __init__(self, session: ScopedSession, principal: Principal, *, actor: Actor | None = None) -> None:
        if principal.organization_id is None:
            raise ValueError("stock belongs to an organisation, and this principal acts in none")
        self.session = session
        self.organization_id = principal.organization_id
        actor_id = principal.actor_id
        self.actor = actor or Actor(principal.actor_type, None if actor_id is None else str(actor_id))
        self.stock = StockRepository(session, principal.organization_id)
        self.products = ProductRepository(session)

    async def hold(
        self, order_id: UUID, wanted: Iterable[tuple[LockedProduct, int]]
    ) -> dict[UUID, ReservedProduct]:
        """Judge what a new order takes of locked products; uncounted ones are left out of the answer.

        Nothing is written but what is told of it: the statement that writes the order takes the pieces, with
        `reservation_rows` and `movement_rows`. 409 `insufficient_stock` names every product that is short.
        """
        levels, short = [], []
        for product, quantity in wanted:
            if product.available is None:
                continue
            if product.available >= quantity or product.allow_backorder:
                levels.append(product.held(quantity))
            else:
                short.append(Missed(product.id, quantity, product.available))
        if short:
            raise insufficient_stock(short)
        await self._announce(levels)
        return {level.id: ReservedProduct.of(order_id, level, level.delta_reserved) for level in levels}

    async def reserve(self, order_id: UUID, quantities: Mapping[UUID, int]) -> dict[UUID, ReservedProduct]:
        """Take pieces for an order that is there already; untracked products are left out of the answer.

        Neither reservations nor movements are written: `keep` does. 409 `insufficient_stock` names every
        product that is short, 409 `product_not_orderable` those that are not for sale any more.
        """
        _refuse_empty(quantities)
        await self.stock.lock(quantities.keys())
        return await self._hold(order_id, {}, quantities)

    async def rehold(self, order_id: UUID, quantities: Mapping[UUID, int]) -> dict[UUID, ReservedProduct]:
        """Hold exactly these pieces for an order that may hold others: takes and gives back the difference.

        Writes reservations and movements itself; answers the tracked products whose quantity was changed.
        Refuses as `reserve` does.
        """
        _refuse_empty(quantities)
        before = await self.stock.held(order_id)
        # Those whose quantity stays, too: an edit that makes the order free takes all of them off the shelf
        # when its code is locked already, and codes are locked after products.
        await self.stock.lock({**before, **quantities}.keys())
        changed = await self._hold(order_id, before, quantities)
        now = await self.session.now()
        rows = [_reservation(product, before, now) for product in changed.values()]
        await self.stock.write(rows, self.movement_rows(changed))
        return changed

    def reservation_rows(self, reserved: Mapping[UUID, ReservedProduct]) -> list[dict[str, Any]]:
        """The rows of `stock_reservations` that say what was reserved, owner included."""
        return [
            {
                "organization_id": self.organization_id,
                "order_id": product.order_id,
                "product_id": product.product_id,
                "quantity": product.quantity,
            }
            for product in reserved.values()
        ]

    def movement_rows(self, reserved: Mapping[UUID, ReservedProduct]) -> list[dict[str, Any]]:
        """The rows of `stock_movements` that a reservation makes, with owner, id and actor."""
        return [
            self._movement(
                "reserve" if product.delta > 0 else "release",
                product.product_id,
                order_id=product.order_id,
                delta_reserved=product.delta,
                stock_after=product.stock,
                reserved_after=product.reserved,
            )
            for product in reserved.values()
        ]

    async def keep(self, reserved: Mapping[UUID, ReservedProduct]) -> None:
        """Write the reservations and movements of what was reserved, for an order that is there by now."""
        await self.stock.write(self.reservation_rows(reserved), self.movement_rows(reserved))

    async def note_missed(self, order_id: UUID, quantities: Mapping[UUID, int]) -> None:
        """Write what an order could not hold as if it had given it up, so that `retake` can take it."""
        _refuse_empty(quantities)
        now = await self.session.now()
        self.session.add_all(
            StockReservation(
                organization_id=self.organization_id,
                order_id=order_id,
                product_id=product_id,
                quantity=quantity,
                status="released",
                closed_at=now,
            )
            for product_id, quantity in quantities.items()
        )
        await self.session.flush()

    async def commit(self, order_id: UUID) -> None:
        """Take what the order holds off the shelf: it is paid, or costs nothing."""
        outcome = await self.stock.settle(order_id, ("held", "committed"), stock=-1, reserved=-1)
        await self._record("commit", order_id, outcome.moved)

    async def release(self, order_id: UUID) -> None:
        """Give back what the order holds: it was cancelled, has expired, or will never be paid."""
        outcome = await self.stock.settle(order_id, ("held", "released"), stock=0, reserved=-1)
        await self._record("release", order_id, outcome.moved)

    async def retake(self, order_id: UUID, product_ids: Collection[UUID]) -> list[Missed]:
        """Take what the order had released of these products, for a late payment: all of it or nothing.

        `product_ids` are those of the order's items: what an edit took out of the order stays out. Answers
        the products that are short, in which case nothing was changed; empty means taken.
        """
        savepoint = await self.session.begin_nested()
        outcome = await self.stock.settle(
            order_id, ("released", "committed"), stock=-1, reserved=0, retaken=product_ids
        )
        if outcome.short:
            await savepoint.rollback()
            return outcome.short
        await savepoint.commit()
        await self._record("commit", order_id, outcome.moved)
        return []

    async def restock(
        self, order_id: UUID, quantities: Mapping[UUID, int], *, refund_id: UUID | None = None
    ) -> None:
        """Put pieces back on the shelf that the order took; that it took so many is the caller's knowledge.

        Products of which it never took any, because they were not tracked, are passed over.
        """
        _refuse_empty(quantities)
        await self._record("restock", order_id, await self.stock.restock(order_id, quantities), refund_id)

    async def adjust(
        self,
        product_id: UUID,
        *,
        delta: int | None = None,
        to: int | None = None,
        expected: int | None = None,
        reason: str,
    ) -> Product:
        """Correct the stock of a product by `delta`, or set it `to` a number, if it is still `expected`.

        404; 409 `inventory_not_tracked`, `stock_changed`, `stock_below_reserved`, `stock_out_of_range`.
        """
        product = await self.products.get(product_id, lock=True)
        if product is None:
            raise NotFound()
        if not product.track_inventory:
            raise Conflict("inventory_not_tracked", "Turn `track_inventory` on first.")
        if expected is not None and product.stock != expected:
            raise Conflict("stock_changed", "The stock is another one; read it again.", stock=product.stock)
        stock = to if to is not None else product.stock + (delta or 0)
        if abs(stock) > MAX_STOCK:
            raise stock_out_of_range()
        if not product.allow_backorder and stock < product.reserved:
            raise Conflict(
                "stock_below_reserved",
                "Orders hold more pieces than would be left; cancel some of them first.",
                stock=product.stock,
                reserved=product.reserved,
            )
        moved = stock - product.stock
        if moved == 0:
            return product
        changed = await self.products.change(product_id, None, {"stock": stock})
        if changed is None:
            raise NotFound()
        await self.record_correction(changed, moved, reason)
        return changed

    async def record_correction(self, product: Product, delta: int, note: str) -> None:
        """Write down by how much staff changed a product's stock, and tell when that left too few pieces."""
        await self._record("adjust", None, [_level_of(product, delta)], note=note)

    async def record_import(self, changed: Iterable[tuple[Product, int]]) -> None:
        """Write down by how much an import changed each product's stock, and tell as above."""
        await self._record("import", None, [_level_of(product, delta) for product, delta in changed])

    async def _hold(
        self,
        order_id: UUID,
        before: Mapping[UUID, int],
        quantities: Mapping[UUID, int],
    ) -> dict[UUID, ReservedProduct]:
        """Change what an order holds of locked products to `quantities`, or refuse and name what is short."""
        deltas = {
            product_id: delta
            for product_id in {**before, **quantities}
            if (delta := quantities.get(product_id, 0) - before.get(product_id, 0))
        }
        if not deltas:
            return {}
        outcome = await self.stock.reserve(deltas)
        if outcome.unorderable:
            raise Conflict(
                "product_not_orderable",
                "Some products are not for sale any more; leave them out.",
                products=sorted(str(product_id) for product_id in outcome.unorderable),
            )
        if outcome.short:
            raise insufficient_stock(outcome.short)
        await self._announce(outcome.moved)
        return {
            level.id: ReservedProduct.of(order_id, level, quantities.get(level.id, 0))
            for level in outcome.moved
        }

    async def _record(
        self,
        reason: str,
        order_id: UUID | None,
        levels: Sequence[Level],
        refund_id: UUID | None = None,
        note: str | None = None,
    ) -> None:
        """Write the movements of one act, and tell which products ran low or out by it."""
        movements = [
            self._movement(
                reason,
                level.id,
                order_id=order_id,
                refund_id=refund_id,
                delta_stock=level.delta_stock,
                delta_reserved=level.delta_reserved,
                stock_after=level.stock,
                reserved_after=level.reserved,
                note=note,
            )
            for level in levels
        ]
        await self.stock.write([], movements)
        await self._announce(levels)

    def _movement(self, reason: str, product_id: UUID, **values: Any) -> dict[str, Any]:
        blank = {"order_id": None, "refund_id": None, "delta_stock": 0, "delta_reserved": 0, "note": None}
        return {
            **blank,
            "organization_id": self.organization_id,
            "id": uuid7(),
            "product_id": product_id,
            "reason": reason,
            "actor_type": self.actor.type,
            "actor_id": self.actor.id,
            **values,
        }

    async def _announce(self, levels: Iterable[Level]) -> None:
        """Emit what each product crossed downwards; the rows are locked, so every crossing is seen once."""
        crossed: list[Event] = []
        for level in levels:
            before, after, threshold = level.available_before, level.available, level.low_stock_threshold
            if before is None or after is None:
                continue
            if threshold is not None and before > threshold >= after:
                crossed.append(ProductStockLow(**facts_of(level), threshold=threshold))
            if before > 0 >= after:
                crossed.append(ProductOutOfStock(**facts_of(level)))
        await emit_all(self.session, crossed, organization_id=self.organization_id)


def insufficient_stock(
    short: Iterable[Missed],
    detail: str = "There are too few pieces of some products; lower the quantities in `short`.",
) -> Conflict:
    """409 that names every product of which there are too few pieces."""
    return Conflict(
        "insufficient_stock",
        detail,
        short=[
            {"product_id": str(miss.product_id), "requested": miss.requested, "available": miss.available}
            for miss in sorted(short, key=lambda miss: miss.product_id)
        ],
    )


async def report_drift(session: ScopedSession) -> int:
    """Alert for each product whose `reserved` is not what orders hold; answers how many. Repairs nothing."""
    found = await find_drift(session, limit=MAX_ALERTS)
    for row in found:
        alert = StockDriftDetected(
            product_id=row["product_id"], reserved=row["reserved"], held_total=row["held_total"]
        )
        await emit(session, alert, organization_id=row["organization_id"])
    return len(found)


def _level_of(product: Product, delta: int) -> Level:
    """A product after its stock on hand was changed by `delta`."""
    names = ("sku", "slug", "name", "status", "price", "currency", "stock", "reserved")
    flags = ("track_inventory", "low_stock_threshold", "version")
    values = {name: getattr(product, name) for name in (*names, *flags)}
    return Level(id=product.id, **values, delta_stock=delta, delta_reserved=0)


def _refuse_empty(quantities: Mapping[UUID, int]) -> None:
    if any(quantity < 1 for quantity in quantities.values()):
        raise ValueError("an order takes at least one piece of each of its products")


def _reservation(product: ReservedProduct, before: Mapping[UUID, int], now: datetime) -> dict[str, Any]:
    """The row of a pair after an edit; a product that left the order keeps the quantity that it had."""
    is_held = product.quantity > 0
    return {
        "order_id": product.order_id,
        "product_id": product.product_id,
        "quantity": product.quantity if is_held else before[product.product_id],
        "status": "held" if is_held else "released",
        "closed_at": None if is_held else now,
    }
