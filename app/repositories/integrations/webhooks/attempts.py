"""Owns the questions to attempts: single requests to endpoints."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import and_, delete, select, update

from app.models.integrations import WebhookAttempt, WebhookDelivery
from app.repositories.base import Repository


class AttemptRepository(Repository[WebhookAttempt]):
    """Attempts, for any session."""

    model: ClassVar[type[WebhookAttempt]] = WebhookAttempt

    async def finish(self, organization_id: UUID, attempt_id: UUID, values: Mapping[str, Any]) -> None:
        """Write down what an attempt came to; nothing when its endpoint is gone."""
        await self.session.execute(
            update(WebhookAttempt)
            .where(WebhookAttempt.organization_id == organization_id, WebhookAttempt.id == attempt_id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )

    async def of_delivery(
        self, organization_id: UUID, delivery_id: UUID, limit: int
    ) -> Sequence[WebhookAttempt]:
        """The newest attempts of a delivery, in their order."""
        statement = (
            self.select()
            .where(
                WebhookAttempt.organization_id == organization_id, WebhookAttempt.delivery_id == delivery_id
            )
            .order_by(WebhookAttempt.number.desc())
            .limit(limit)
        )
        newest: Sequence[WebhookAttempt] = (await self.session.execute(statement)).scalars().all()
        return newest[::-1]

    async def last_bodies(
        self, organization_id: UUID, delivery_ids: Collection[UUID]
    ) -> dict[UUID, str | None]:
        """What the last attempt of each delivery was answered."""
        is_last = and_(
            WebhookDelivery.organization_id == WebhookAttempt.organization_id,
            WebhookDelivery.id == WebhookAttempt.delivery_id,
            WebhookDelivery.attempts == WebhookAttempt.number,
        )
        statement = (
            select(WebhookDelivery.id, WebhookAttempt.response_body)
            .select_from(WebhookDelivery)
            .join(WebhookAttempt, is_last)
            .where(WebhookDelivery.organization_id == organization_id, WebhookDelivery.id.in_(delivery_ids))
        )
        return {row[0]: row[1] for row in await self.session.execute(statement)}

    async def forget_loose(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` old pings and tests, of whichever organisations; how many.

        The other attempts go with their deliveries.
        """
        some = (
            select(WebhookAttempt.organization_id, WebhookAttempt.id)
            .where(WebhookAttempt.delivery_id.is_(None), WebhookAttempt.started_at < before)
            .limit(limit)
            .cte()
        )
        statement = (
            delete(WebhookAttempt)
            .where(WebhookAttempt.organization_id == some.c.organization_id, WebhookAttempt.id == some.c.id)
            .returning(WebhookAttempt.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())
