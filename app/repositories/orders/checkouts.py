"""Questions to the commands that open checkouts of orders."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy import select

from app.models.stripe_webhooks import StripeCommand
from app.repositories.orders.narrowed import Narrowed

WAITING = ("pending", "sent")
"""Commands whose outcome is not known yet."""


class OrderCommandRepository(Narrowed[StripeCommand]):
    """What Stripe was told about orders."""

    model: ClassVar[type[StripeCommand]] = StripeCommand

    async def latest(self, subject_id: UUID, kind: str) -> StripeCommand | None:
        """The newest command of a kind about this subject."""
        statement = (
            select(StripeCommand)
            .where(StripeCommand.subject_id == subject_id, StripeCommand.kind == kind, *self.mine())
            .order_by(StripeCommand.created_at.desc(), StripeCommand.id.desc())
            .limit(1)
        )
        found: StripeCommand | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found
