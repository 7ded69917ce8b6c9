"""Owns the questions to endpoints of webhooks and to their secrets."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, or_, select, update

from app.models.integrations import WebhookDelivery, WebhookEndpoint, WebhookSecret
from app.repositories.base import Repository

NOT_GONE = or_(WebhookEndpoint.disabled_reason.is_(None), WebhookEndpoint.disabled_reason != "gone")


class EndpointRepository(Repository[WebhookEndpoint]):
    """Endpoints, for any session: whose they are is part of every question."""

    model: ClassVar[type[WebhookEndpoint]] = WebhookEndpoint

    def matching(self, *, status: str | None) -> Select[tuple[WebhookEndpoint]]:
        """The statement of a list."""
        statement = self.select().select_from(WebhookEndpoint)
        return statement if status is None else statement.where(WebhookEndpoint.status == status)

    async def lock(self, organization_id: UUID, endpoint_id: UUID) -> WebhookEndpoint | None:
        """An endpoint that nobody else changes; it is locked before any of its deliveries."""
        return await self.one(
            WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.id == endpoint_id, lock=True
        )

    async def count(self, organization_id: UUID) -> int:
        """How many the organisation has, whatever their status."""
        statement = (
            select(func.count())
            .select_from(WebhookEndpoint)
            .where(WebhookEndpoint.organization_id == organization_id)
        )
        return int(await self.session.scalar(statement) or 0)

    async def subscribed(self, organization_id: UUID, patterns: Sequence[str]) -> Sequence[tuple[UUID, bool]]:
        """The endpoints with any of these patterns that are not gone, and whether they are sent to now."""
        statement = select(WebhookEndpoint.id, WebhookEndpoint.status, WebhookEndpoint.circuit).where(
            WebhookEndpoint.organization_id == organization_id,
            WebhookEndpoint.events.overlap(list(patterns)),
            NOT_GONE,
        )
        rows = (await self.session.execute(statement)).all()
        return [(row.id, row.status == "active" and row.circuit == "closed") for row in rows]

    async def still_open(self, organization_id: UUID, endpoint_ids: Collection[UUID]) -> Mapping[UUID, bool]:
        """Of those that are not gone, whether they are sent to; it stays so until the transaction ends."""
        statement = (
            select(WebhookEndpoint.id, WebhookEndpoint.status, WebhookEndpoint.circuit)
            .where(
                WebhookEndpoint.organization_id == organization_id,
                WebhookEndpoint.id.in_(endpoint_ids),
                NOT_GONE,
            )
            .order_by(WebhookEndpoint.id)
            .with_for_update(read=True)
        )
        rows = (await self.session.execute(statement)).all()
        return {row.id: row.status == "active" and row.circuit == "closed" for row in rows}

    async def change(
        self, organization_id: UUID, endpoint_id: UUID, values: Mapping[str, Any]
    ) -> WebhookEndpoint:
        """Change an endpoint that the caller has locked."""
        statement = (
            update(WebhookEndpoint)
            .where(WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.id == endpoint_id)
            .values(**values, updated_at=func.clock_timestamp())
            .returning(WebhookEndpoint)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        changed: WebhookEndpoint = (await self.session.execute(statement)).scalar_one()
        return changed

    async def held_counts(self, organization_id: UUID, endpoint_ids: Collection[UUID]) -> dict[UUID, int]:
        """How many deliveries of each endpoint are held."""
        statement = (
            select(WebhookDelivery.endpoint_id, func.count())
            .select_from(WebhookDelivery)
            .where(
                WebhookDelivery.organization_id == organization_id,
                WebhookDelivery.endpoint_id.in_(endpoint_ids),
                WebhookDelivery.status == "held",
            )
            .group_by(WebhookDelivery.endpoint_id)
        )
        return {row[0]: int(row[1]) for row in await self.session.execute(statement)}

    async def overdue_circuits(self, before: datetime, limit: int) -> Sequence[tuple[UUID, UUID]]:
        """Endpoints of every organisation that should have been pinged before that moment."""
        statement = (
            select(WebhookEndpoint.organization_id, WebhookEndpoint.id)
            .where(
                WebhookEndpoint.status == "active",
                WebhookEndpoint.circuit != "closed",
                WebhookEndpoint.circuit_until < before,
            )
            .limit(limit)
        )
        return [(row[0], row[1]) for row in await self.session.execute(statement)]

    async def open_with_held(self, limit: int) -> Sequence[tuple[UUID, UUID]]:
        """Endpoints of every organisation that are sent to and have held deliveries all the same."""
        held = (
            select(WebhookDelivery.id)
            .where(
                WebhookDelivery.organization_id == WebhookEndpoint.organization_id,
                WebhookDelivery.endpoint_id == WebhookEndpoint.id,
                WebhookDelivery.status == "held",
            )
            .exists()
        )
        statement = (
            select(WebhookEndpoint.organization_id, WebhookEndpoint.id)
            .where(WebhookEndpoint.status == "active", WebhookEndpoint.circuit == "closed", held)
            .limit(limit)
        )
        return [(row[0], row[1]) for row in await self.session.execute(statement)]


class SecretRepository(Repository[WebhookSecret]):
    """Secrets of endpoints, for any session."""

    model: ClassVar[type[WebhookSecret]] = WebhookSecret

    async def live(self, organization_id: UUID, endpoint_id: UUID, now: datetime) -> Sequence[WebhookSecret]:
        """The secrets that sign now, the current one first."""
        statement = (
            self.select()
            .where(
                WebhookSecret.organization_id == organization_id,
                WebhookSecret.endpoint_id == endpoint_id,
                or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > now),
            )
            .order_by(WebhookSecret.expires_at.desc().nulls_first())
        )
        found: Sequence[WebhookSecret] = (await self.session.execute(statement)).scalars().all()
        return found

    async def retire(self, organization_id: UUID, endpoint_id: UUID, expires_at: datetime) -> None:
        """Let the current secret end at that moment; the caller has locked the endpoint."""
        await self.session.execute(
            update(WebhookSecret)
            .where(
                WebhookSecret.organization_id == organization_id,
                WebhookSecret.endpoint_id == endpoint_id,
                WebhookSecret.expires_at.is_(None),
            )
            .values(expires_at=expires_at, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )

    async def forget_expired(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` secrets, of whichever organisations, that ended before; how many."""
        some = (
            select(WebhookSecret.organization_id, WebhookSecret.id)
            .where(WebhookSecret.expires_at < before)
            .limit(limit)
            .cte()
        )
        statement = (
            delete(WebhookSecret)
            .where(
                and_(WebhookSecret.organization_id == some.c.organization_id, WebhookSecret.id == some.c.id)
            )
            .returning(WebhookSecret.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())
