"""Owns the questions to subscriptions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from app.models.billing import Subscription
from app.models.billing.subscriptions import LIVE
from app.repositories.base import Repository


class SubscriptionRepository(Repository[Subscription]):
    """Subscriptions, for any session: the question names the organisation."""

    model = Subscription

    async def live(self, organization_id: UUID, *, lock: bool = False) -> Subscription | None:
        """The one that has not ended; there is one at most."""
        return await self.one(
            Subscription.organization_id == organization_id, Subscription.status.in_(LIVE), lock=lock
        )

    async def latest(self, organization_id: UUID) -> Subscription | None:
        """The live one, or else the one that began last."""
        statement = (
            self.select()
            .where(Subscription.organization_id == organization_id)
            .order_by(Subscription.status.in_(LIVE).desc(), Subscription.created_at.desc())
            .limit(1)
        )
        found: Subscription | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def by_stripe_id(
        self, organization_id: UUID, stripe_subscription_id: str, *, lock: bool = False
    ) -> Subscription | None:
        """The mirror of a subscription of Stripe."""
        return await self.one(
            Subscription.organization_id == organization_id,
            Subscription.stripe_subscription_id == stripe_subscription_id,
            lock=lock,
        )

    async def change(self, subscription: Subscription, values: Mapping[str, Any]) -> None:
        """Change a mirror that the caller has locked, and count its version on when anything differs."""
        differs = any(
            getattr(subscription, name) != value for name, value in values.items() if name != "synced_at"
        )
        await self.session.execute(
            update(Subscription)
            .where(
                Subscription.organization_id == subscription.organization_id,
                Subscription.id == subscription.id,
            )
            .values(
                **values,
                **(
                    {"version": Subscription.version + 1, "updated_at": func.clock_timestamp()}
                    if differs
                    else {"updated_at": Subscription.updated_at}
                ),
            )
            .execution_options(synchronize_session=False)
        )
        await self.session.refresh(subscription)

    async def overdue_between(self, after: datetime, until: datetime) -> Sequence[Subscription]:
        """Those of every organisation that are overdue since a moment of this span."""
        statement = (
            select(Subscription)
            .where(
                Subscription.status == "past_due",
                Subscription.past_due_since > after,
                Subscription.past_due_since <= until,
            )
            .order_by(Subscription.organization_id)
        )
        return (await self.session.scalars(statement)).all()
