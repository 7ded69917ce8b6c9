"""Finds ids in the rows of every area that were never at Stripe, because the sandbox made them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database import ScopedSession
from app.models.billing import (
    BillingCheckout,
    BillingCustomer,
    Invoice,
    PaymentMethod,
    PlanPrice,
    Subscription,
)
from app.models.billing.subscriptions import LIVE
from app.models.orders import OrderPayment, Refund

COLUMNS: Mapping[str, InstrumentedAttribute[Any]] = {
    "customers": BillingCustomer.stripe_customer_id,
    "subscriptions": Subscription.stripe_subscription_id,
    "payment methods": PaymentMethod.stripe_payment_method_id,
    "checkouts": BillingCheckout.stripe_session_id,
    "prices": PlanPrice.stripe_price_id,
    "invoices": Invoice.stripe_invoice_id,
    "payments of orders": OrderPayment.stripe_payment_intent_id,
    "refunds": Refund.stripe_refund_id,
}
"""Where ids of Stripe's stand, in words for operators."""


class SandboxIds(NamedTuple):
    """How many rows of a kind there are, and the first of their ids."""

    rows: int
    examples: list[str]


class SandboxIdRepository:
    """Looks at all organisations: for an unscoped session."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def found(self, mark: str, examples: int) -> dict[str, SandboxIds]:
        """The kinds of rows that carry such ids."""
        found: dict[str, SandboxIds] = {}
        for name, column in COLUMNS.items():
            has_mark = column.contains(mark, autoescape=True)
            count = await self.session.scalar(select(func.count()).where(has_mark)) or 0
            if count:
                first = await self.session.scalars(
                    select(column).where(has_mark).order_by(column).limit(examples)
                )
                found[name] = SandboxIds(count, list(first))
        return found

    async def living(self, mark: str) -> int:
        """How many subscriptions there are with such an id that have not ended."""
        statement = select(func.count()).where(
            Subscription.stripe_subscription_id.contains(mark, autoescape=True), Subscription.status.in_(LIVE)
        )
        return await self.session.scalar(statement) or 0
