"""Owns the questions to deliveries, and to the events that they carry."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select, tuple_, update

from app.core.ids import uuid7
from app.models.integrations import WebhookDelivery
from app.models.realtime import EventLog
from app.repositories.base import Repository

WAITING = ("pending", "retrying")
OPEN = (*WAITING, "held")
"""Not finished, and not under way at this moment."""

UNFINISHED = ("pending", "sending", "retrying")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """What narrows a list of deliveries; None does not."""

    status: str | None = None
    event_type: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeliveryRepository(Repository[WebhookDelivery]):
    """Deliveries, for any session: whose they are is part of every question."""

    model: ClassVar[type[WebhookDelivery]] = WebhookDelivery

    def matching(self, endpoint_id: UUID, wanted: DeliveryFilter) -> Select[tuple[WebhookDelivery]]:
        """The statement of a list."""
        statement = self.select().where(WebhookDelivery.endpoint_id == endpoint_id)
        if wanted.status is not None:
            statement = statement.where(WebhookDelivery.status == wanted.status)
        if wanted.event_type is not None:
            statement = statement.where(WebhookDelivery.event_type == wanted.event_type)
        if wanted.error_code is not None:
            statement = statement.where(WebhookDelivery.last_error_code == wanted.error_code)
        if wanted.since is not None:
            statement = statement.where(WebhookDelivery.created_at >= wanted.since)
        if wanted.until is not None:
            statement = statement.where(WebhookDelivery.created_at < wanted.until)
        return statement

    async def find(self, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery | None:
        """A delivery of this endpoint."""
        return await self.one(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.id == delivery_id)

    async def endpoint_of(self, organization_id: UUID, delivery_id: UUID) -> UUID | None:
        """The endpoint that a delivery goes to, unless it is gone."""
        found: UUID | None = await self.session.scalar(
            select(WebhookDelivery.endpoint_id).where(
                WebhookDelivery.organization_id == organization_id, WebhookDelivery.id == delivery_id
            )
        )
        return found

    async def lock(
        self, organization_id: UUID, delivery_id: UUID, *, skip_locked: bool = False
    ) -> WebhookDelivery | None:
        """A delivery that nobody else changes; its endpoint is locked before."""
        statement = (
            self.select()
            .where(WebhookDelivery.organization_id == organization_id, WebhookDelivery.id == delivery_id)
            .with_for_update(key_share=True, skip_locked=skip_locked)
            .execution_options(populate_existing=True)
        )
        found: WebhookDelivery | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def add_new(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[tuple[UUID, UUID]]:
        """Insert the deliveries of an event, which nobody else does; their ids and endpoints."""
        values = [{"id": uuid7(), **row} for row in rows]
        await self.session.execute(insert(WebhookDelivery), values)
        return [(row["id"], row["endpoint_id"]) for row in values]

    async def change(self, organization_id: UUID, delivery_id: UUID, values: Mapping[str, Any]) -> None:
        """Change a delivery that the caller has locked."""
        await self.session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.organization_id == organization_id, WebhookDelivery.id == delivery_id)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )

    async def count_sending(
        self, organization_id: UUID, endpoint_id: UUID, now: datetime, *, other_than: UUID
    ) -> int:
        """How many other requests to an endpoint are under way."""
        statement = (
            select(func.count())
            .select_from(WebhookDelivery)
            .where(
                *_of(organization_id, endpoint_id),
                WebhookDelivery.status == "sending",
                WebhookDelivery.lease_until > now,
                WebhookDelivery.id != other_than,
            )
        )
        return int(await self.session.scalar(statement) or 0)

    async def hold(self, organization_id: UUID, endpoint_id: UUID) -> None:
        """Hold what waits, also what waited for a free place only; the endpoint is locked."""
        waits = or_(
            WebhookDelivery.status.in_(WAITING),
            and_(WebhookDelivery.status == "held", WebhookDelivery.next_attempt_at.is_not(None)),
        )
        await self._end(
            (*_of(organization_id, endpoint_id), waits),
            status="held",
            next_attempt_at=None,
        )

    async def cancel_open(
        self, organization_id: UUID, endpoint_id: UUID, now: datetime, *, but: Collection[str] = ()
    ) -> None:
        """Cancel what waits or is held, but for types that these patterns cover; the endpoint is locked."""
        conditions = [*_of(organization_id, endpoint_id), WebhookDelivery.status.in_(OPEN)]
        if but:
            conditions.append(~_covered(but))
        await self._end(conditions, status="cancelled", next_attempt_at=None, completed_at=now)

    async def release(
        self, organization_id: UUID, endpoint_id: UUID, now: datetime, limit: int, *, is_busy: bool = False
    ) -> Sequence[UUID]:
        """Let up to `limit` held deliveries go, and answer their ids, oldest first; the endpoint is locked.

        `is_busy`: only those that wait for other requests to the same endpoint.
        """
        conditions = [*_of(organization_id, endpoint_id), WebhookDelivery.status == "held"]
        if is_busy:
            conditions.append(WebhookDelivery.next_attempt_at.is_not(None))
        oldest = (
            select(WebhookDelivery.id)
            .where(*conditions)
            .order_by(WebhookDelivery.created_at, WebhookDelivery.id)
            .limit(limit)
            .with_for_update(key_share=True)
        )
        ids: Sequence[UUID] = (await self.session.execute(oldest)).scalars().all()
        if ids:
            await self._end(
                (WebhookDelivery.organization_id == organization_id, WebhookDelivery.id.in_(ids)),
                status="pending",
                next_attempt_at=now,
            )
        return ids

    async def first_in_line(
        self,
        organization_id: UUID,
        endpoint_id: UUID,
        due: datetime,
        *,
        before: WebhookDelivery | None = None,
    ) -> WebhookDelivery | None:
        """The oldest delivery to an endpoint that waits until then at most; the endpoint is locked.

        With `before`: of those that come before it, also what is held. Reads two rows at most, by an index.
        """
        order = (WebhookDelivery.created_at, WebhookDelivery.id)
        lines = [and_(WebhookDelivery.status == "pending", WebhookDelivery.next_attempt_at <= due)]
        if before is not None:
            is_before = tuple_(*order) < (before.created_at, before.id)
            lines = [and_(line, is_before) for line in (*lines, WebhookDelivery.status == "held")]
        ids = select(WebhookDelivery.id).where(*_of(organization_id, endpoint_id)).order_by(*order).limit(1)
        firsts = [ids.where(line) for line in lines]
        statement = (
            self.select()
            .where(
                WebhookDelivery.organization_id == organization_id,
                or_(*(WebhookDelivery.id == first.scalar_subquery() for first in firsts)),
            )
            .order_by(*order)
            .limit(1)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        found: WebhookDelivery | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def event(self, event_id: UUID) -> tuple[str, str | None] | None:
        """The envelope of an event and its trace, unless it was pruned."""
        statement = select(EventLog.body, EventLog.trace_id).where(EventLog.event_id == event_id)
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def envelopes(self, event_ids: Collection[UUID]) -> dict[UUID, str]:
        """The envelopes of those events that were not pruned and that the caller may read."""
        statement = select(EventLog.event_id, EventLog.body).where(EventLog.event_id.in_(event_ids))
        return {row[0]: row[1] for row in await self.session.execute(statement)}

    async def overdue(self, before: datetime, limit: int) -> Sequence[tuple[UUID, UUID, UUID]]:
        """Unfinished deliveries of every organisation whose time passed before that moment.

        Answers organisation, endpoint and delivery. Those of them that are being sent have lost their worker.
        """
        statement = (
            select(WebhookDelivery.organization_id, WebhookDelivery.endpoint_id, WebhookDelivery.id)
            .where(WebhookDelivery.status.in_(UNFINISHED), WebhookDelivery.next_attempt_at < before)
            .order_by(WebhookDelivery.next_attempt_at)
            .limit(limit)
        )
        return [(row[0], row[1], row[2]) for row in await self.session.execute(statement)]

    async def expire(self, before: datetime, now: datetime, limit: int) -> int:
        """Cancel up to `limit` held deliveries of events that are as old as that; how many."""
        some = (
            select(WebhookDelivery.organization_id, WebhookDelivery.id)
            .where(WebhookDelivery.created_at < before, WebhookDelivery.status == "held")
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
            .cte()
        )
        statement = (
            update(WebhookDelivery)
            .where(WebhookDelivery.organization_id == some.c.organization_id, WebhookDelivery.id == some.c.id)
            .values(status="cancelled", completed_at=now, updated_at=func.clock_timestamp())
            .returning(WebhookDelivery.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())

    async def prune(self, before: datetime, finished_before: datetime, limit: int) -> int:
        """Delete up to `limit` old deliveries that finished before that moment, with their attempts."""
        some = (
            select(WebhookDelivery.organization_id, WebhookDelivery.id)
            .where(WebhookDelivery.created_at < before, WebhookDelivery.completed_at < finished_before)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte()
        )
        statement = (
            delete(WebhookDelivery)
            .where(WebhookDelivery.organization_id == some.c.organization_id, WebhookDelivery.id == some.c.id)
            .returning(WebhookDelivery.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())

    async def _end(self, conditions: Collection[ColumnElement[bool]], **values: Any) -> None:
        await self.session.execute(
            update(WebhookDelivery)
            .where(*conditions)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )


def _of(organization_id: UUID, endpoint_id: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (
        WebhookDelivery.organization_id == organization_id,
        WebhookDelivery.endpoint_id == endpoint_id,
    )


def _covered(patterns: Collection[str]) -> ColumnElement[bool]:
    """Whether a delivery's type is named by one of the patterns."""
    exact = [pattern for pattern in patterns if not pattern.endswith("*")]
    prefixes = [pattern[:-1] for pattern in patterns if pattern.endswith("*")]
    return or_(
        WebhookDelivery.event_type.in_(exact),
        *(WebhookDelivery.event_type.startswith(prefix, autoescape=True) for prefix in prefixes),
    )
