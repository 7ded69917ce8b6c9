"""Questions to payments and refunds: what is left to give back, and claiming it by conditional updates."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import BigInteger, CursorResult, Integer, Select, Uuid, column, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from app.models.orders import OrderItem, OrderPayment, Refund
from app.repositories.orders.narrowed import Narrowed


@dataclass(frozen=True, slots=True)
class LineChange:
    """What an act adds to one line: units refunded, for this amount, units returned and units restocked."""

    item_id: UUID
    refunded: int = 0
    amount: int = 0
    returned: int = 0
    restocked: int = 0


class PaymentRepository(Narrowed[OrderPayment]):
    """Payments of the organisation's orders; whoever changes one has locked its order."""

    model: ClassVar[type[OrderPayment]] = OrderPayment

    async def of_order(self, order_id: UUID) -> list[OrderPayment]:
        """The payments of an order, the first one first."""
        statement = (
            select(OrderPayment)
            .where(OrderPayment.order_id == order_id, *self.mine())
            .order_by(OrderPayment.id)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def order_of_intent(self, organization_id: UUID, intent_id: str) -> UUID | None:
        """The order whose payment this PaymentIntent of Stripe's became: what is to be locked."""
        statement = select(OrderPayment.order_id).where(
            OrderPayment.organization_id == organization_id,
            OrderPayment.stripe_payment_intent_id == intent_id,
        )
        found: UUID | None = await self.session.scalar(statement)
        return found

    async def of_intent(self, organization_id: UUID, intent_id: str) -> OrderPayment | None:
        """The payment that this PaymentIntent of Stripe's became, if it is one of an order.

        For callers who have locked the order: a row that was read before may have changed since.
        """
        return await self.one(
            OrderPayment.organization_id == organization_id,
            OrderPayment.stripe_payment_intent_id == intent_id,
        )

    async def claim(self, payment_id: UUID, amount: int) -> OrderPayment | None:
        """Set so much of a payment aside for a refund; None when less than that is left of it."""
        statement = (
            update(OrderPayment)
            .where(
                OrderPayment.id == payment_id,
                *self.mine(),
                OrderPayment.status.in_(("applied", "unapplied")),
                OrderPayment.amount_refunded + OrderPayment.amount_refund_pending + amount
                <= OrderPayment.amount,
            )
            .values(
                amount_refund_pending=OrderPayment.amount_refund_pending + amount,
                updated_at=func.clock_timestamp(),
            )
            .returning(OrderPayment)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        claimed: OrderPayment | None = (await self.session.execute(statement)).scalar_one_or_none()
        return claimed

    async def has_unresolved(self, order_id: UUID) -> bool:
        """Whether money of an order lies there that is neither applied to it nor given back in full."""
        statement = select(OrderPayment.id).where(
            OrderPayment.order_id == order_id,
            *self.mine(),
            OrderPayment.status == "unapplied",
            OrderPayment.amount_refunded < OrderPayment.amount,
        )
        return await self.session.scalar(statement.limit(1)) is not None


class RefundRepository(Narrowed[Refund]):
    """Refunds of the organisation's orders."""

    model: ClassVar[type[Refund]] = Refund

    def of_order(self, order_id: UUID) -> Select[Any]:
        """The statement of the list."""
        return self.select().where(Refund.order_id == order_id)

    async def find(self, order_id: UUID, refund_id: UUID) -> Refund | None:
        """One refund of an order."""
        return await self.one(Refund.order_id == order_id, Refund.id == refund_id, *self.mine())

    async def of_payment(self, order_id: UUID, payment_id: UUID) -> list[Refund]:
        """The refunds of a payment of an order, which the caller has locked."""
        statement = (
            select(Refund)
            .where(Refund.order_id == order_id, Refund.payment_id == payment_id, *self.mine())
            .order_by(Refund.id)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def shares(self, order_id: UUID) -> Sequence[Mapping[str, Any]]:
        """What each refund of an order takes of its shipping and its tax groups, with its status."""
        statement = select(Refund.status, Refund.shipping_amount, Refund.tax_groups).where(
            Refund.order_id == order_id, *self.mine()
        )
        return cast("Sequence[Mapping[str, Any]]", (await self.session.execute(statement)).mappings().all())

    async def count_units(self, changes: Sequence[LineChange]) -> int:
        """Add to the units and amounts of lines, with one statement; answers how many lines could take it.

        A line takes it when no more units are refunded or restocked than were ordered, and no more come back
        than have left.
        """
        names = ("refunded", "returned", "restocked")
        rows = [{**asdict(change), "item_id": str(change.item_id)} for change in changes]
        change = (
            func.jsonb_to_recordset(literal(rows, JSONB))
            .table_valued(
                column("item_id", Uuid),
                column("amount", BigInteger),
                *(column(name, Integer) for name in names),
            )
            .render_derived(name="change", with_types=True)
        )
        refunded = OrderItem.refunded_quantity + change.c.refunded
        returned = OrderItem.returned_quantity + change.c.returned
        restocked = OrderItem.restocked_quantity + change.c.restocked
        statement = (
            update(OrderItem)
            .where(
                OrderItem.id == change.c.item_id,
                refunded <= OrderItem.quantity,
                returned <= OrderItem.fulfilled_quantity,
                restocked <= OrderItem.quantity,
            )
            .values(
                refunded_quantity=refunded,
                refunded_amount=OrderItem.refunded_amount + change.c.amount,
                returned_quantity=returned,
                restocked_quantity=restocked,
            )
            .execution_options(synchronize_session=False)
        )
        outcome = cast("CursorResult[Any]", await self.session.execute(statement))
        return int(outcome.rowcount)
