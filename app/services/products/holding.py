"""Products as an order holds pieces of them, and as their holder finds them under a lock."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.repositories.products import Level


@dataclass(frozen=True, slots=True)
class ReservedProduct:
    """A tracked product of an order after its pieces were held; `price` in minor units is the order's price.

    `quantity` is what the order holds now, `delta` by how much that was changed; `stock` and `reserved` are
    the product's quantities afterwards.
    """

    order_id: UUID
    product_id: UUID
    quantity: int
    delta: int
    price: int
    currency: str
    stock: int
    reserved: int

    @classmethod
    def of(cls, order_id: UUID, level: Level, quantity: int) -> "ReservedProduct":
        """A product of which an order now holds so many pieces."""
        return cls(
            order_id=order_id,
            product_id=level.id,
            quantity=quantity,
            delta=level.delta_reserved,
            price=level.price,
            currency=level.currency,
            stock=level.stock,
            reserved=level.reserved,
        )


class LockedProduct(Protocol):
    """A product whose row the caller has read under its lock."""

    @property
    def id(self) -> UUID: ...

    @property
    def allow_backorder(self) -> bool: ...

    @property
    def available(self) -> int | None:
        """The pieces that may still be ordered; None when they are not counted."""

    def held(self, quantity: int) -> Level:
        """This product once so many pieces more are held of it."""
