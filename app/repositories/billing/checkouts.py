"""Owns the questions to the hosted pages on which plans are bought."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, update

from app.models.billing import BillingCheckout
from app.repositories.base import Repository

UNDER_WAY = ("creating", "open")


class CheckoutRepository(Repository[BillingCheckout]):
    """Checkouts, for any session: the question names the organisation."""

    model = BillingCheckout

    async def find(self, organization_id: UUID, checkout_id: UUID) -> BillingCheckout | None:
        """One checkout, or None."""
        return await self.one(
            BillingCheckout.organization_id == organization_id, BillingCheckout.id == checkout_id
        )

    async def under_way(self, organization_id: UUID) -> BillingCheckout | None:
        """The one that is being made or open; there is one at most."""
        return await self.one(
            BillingCheckout.organization_id == organization_id, BillingCheckout.status.in_(UNDER_WAY)
        )

    async def by_session(self, organization_id: UUID, session_id: str) -> BillingCheckout | None:
        """The checkout of a session of Stripe."""
        return await self.one(
            BillingCheckout.organization_id == organization_id,
            BillingCheckout.stripe_session_id == session_id,
        )

    async def change(self, organization_id: UUID, checkout_id: UUID, values: Mapping[str, Any]) -> None:
        """Change a checkout; the caller holds the billing lock."""
        await self.session.execute(
            update(BillingCheckout)
            .where(BillingCheckout.organization_id == organization_id, BillingCheckout.id == checkout_id)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session="fetch")
        )

    async def close_old(self, now: datetime) -> int:
        """Let the open ones of every organisation expire whose time is over; answers how many."""
        statement = (
            update(BillingCheckout)
            .where(BillingCheckout.status == "open", BillingCheckout.expires_at <= now)
            .values(status="expired", updated_at=func.clock_timestamp())
            .returning(BillingCheckout.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())
