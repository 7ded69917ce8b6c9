"""Which moves of an order are allowed, and which it has made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Owned, Reference, owned_reference
from app.models.orders.order import one_of


class OrderTransition(Reference, Base):
    """An allowed move of `status` or `payment_status`; the rows are written by the migration."""

    __tablename__ = "order_transitions"
    __table_args__ = (one_of("field", ("status", "payment_status")),)

    field: Mapped[str] = mapped_column(primary_key=True)
    from_value: Mapped[str] = mapped_column(primary_key=True)
    to_value: Mapped[str] = mapped_column(primary_key=True)


class OrderStatusHistory(Owned, Base):
    """One change of an order's state; written by the trigger of `orders` alone, never changed."""

    __tablename__ = "order_status_history"
    __table_args__ = (
        one_of("field", ("status", "payment_status", "hold_reason")),
        one_of("actor_type", ("user", "api_key", "stripe", "customer", "system")),
        owned_reference(["order_id"], "orders", ["id"]),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    field: Mapped[str]
    from_value: Mapped[str | None]
    to_value: Mapped[str | None]
    reason: Mapped[str | None]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    stripe_event_id: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
