"""What our rows say of objects of Stripe, as reconciliation compares them: anybody's, by Stripe's ids."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, null, select, tuple_

from app.core.database import ScopedSession
from app.models.billing.accounting import Invoice, RevenueEntry
from app.models.billing.subscriptions import LIVE, Subscription
from app.models.orders import Order, OrderPayment, Refund


class Mirror(NamedTuple):
    """A row of ours: whose, which, and what it says.

    Of a payment, `order_status` is that of its order, and `kept` what has not been given back of it.
    """

    stripe_id: str
    organization_id: UUID
    local_id: UUID
    status: str
    amount: int | None
    order_status: str | None = None
    kept: int | None = None


class MirrorRepository:
    """Reads for all organisations, since what is compared is the account at Stripe as a whole."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def subscriptions(self, stripe_ids: Sequence[str]) -> Mapping[str, Mirror]:
        """Mirrors of these subscriptions."""
        columns = (Subscription.stripe_subscription_id, Subscription.organization_id, Subscription.id)
        statement = select(*columns, Subscription.status, null())
        return await self._by_id(statement.where(Subscription.stripe_subscription_id.in_(stripe_ids)))

    async def live_subscriptions(self) -> Mapping[str, Mirror]:
        """Mirrors of every subscription that has not ended, as we think."""
        columns = (Subscription.stripe_subscription_id, Subscription.organization_id, Subscription.id)
        statement = select(*columns, Subscription.status, null())
        return await self._by_id(statement.where(Subscription.status.in_(LIVE)))

    async def invoices(self, stripe_ids: Sequence[str]) -> Mapping[str, Mirror]:
        """Mirrors of these invoices, with their totals."""
        columns = (Invoice.stripe_invoice_id, Invoice.organization_id, Invoice.id)
        statement = select(*columns, Invoice.status, Invoice.amount)
        return await self._by_id(statement.where(Invoice.stripe_invoice_id.in_(stripe_ids)))

    async def refunds(self, stripe_ids: Sequence[str]) -> Mapping[str, Mirror]:
        """Rows of these refunds, with what was refunded."""
        columns = (Refund.stripe_refund_id, Refund.organization_id, Refund.id)
        statement = select(*columns, Refund.status, Refund.amount)
        return await self._by_id(statement.where(Refund.stripe_refund_id.in_(stripe_ids)))

    async def payments(self, stripe_ids: Sequence[str]) -> Mapping[str, Mirror]:
        """Payments of orders by these PaymentIntents."""
        columns = (OrderPayment.stripe_payment_intent_id, OrderPayment.organization_id, OrderPayment.id)
        kept = OrderPayment.amount - OrderPayment.amount_refunded - OrderPayment.amount_refund_pending
        statement = (
            select(*columns, OrderPayment.status, OrderPayment.amount, Order.status, kept)
            .join(
                Order,
                and_(
                    Order.organization_id == OrderPayment.organization_id, Order.id == OrderPayment.order_id
                ),
            )
            .where(OrderPayment.stripe_payment_intent_id.in_(stripe_ids))
        )
        return await self._by_id(statement)

    async def placed(self, orders: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
        """The ids of those orders, named by organisation and id, that are here."""
        statement = select(Order.id).where(tuple_(Order.organization_id, Order.id).in_(orders))
        return set(await self.session.scalars(statement))

    async def charged(self, references: Sequence[str]) -> set[str]:
        """Which of these references of the ledger stand in it as a charge."""
        found = await self.session.scalars(
            select(RevenueEntry.source_ref).where(
                RevenueEntry.entry_type == "charge", RevenueEntry.source_ref.in_(references)
            )
        )
        return set(found)

    async def _by_id(self, statement: Any) -> Mapping[str, Mirror]:
        rows = await self.session.execute(statement)
        return {row[0]: Mirror(row[0], *row[1:]) for row in rows if row[0] is not None}
