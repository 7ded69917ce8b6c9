"""Questions to stripe_events: the inbox, what is due in it, and how each event ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    delete,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.models.stripe_webhooks import StripeEvent
from app.repositories.base import Repository
from app.repositories.jobs import JobRepository

JOB = "process_stripe_event"

SUMMARY = [
    getattr(StripeEvent, column.key)
    for column in StripeEvent.__mapper__.column_attrs
    if column.key != "payload"
]
"""Every column of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events of the inbox are wanted."""

    status: str | None
    type: str | None
    object_id: str | None
    organization_id: UUID | None
    since: datetime | None
    until: datetime | None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as conditions."""
        equal = (
            (StripeEvent.status, self.status),
            (StripeEvent.type, self.type),
            (StripeEvent.object_id, self.object_id),
            (StripeEvent.organization_id, self.organization_id),
        )
        conditions: list[ColumnElement[bool]] = [
            column == value for column, value in equal if value is not None
        ]
        if self.since is not None:
            conditions.append(StripeEvent.received_at >= self.since)
        if self.until is not None:
            conditions.append(StripeEvent.received_at < self.until)
        return conditions


class Taken(NamedTuple):
    """A pending event whose attempt was counted, and the database's time."""

    event: StripeEvent
    fetched_at: datetime


class EventRepository(Repository[StripeEvent]):
    """The inbox, which belongs to nobody: for unscoped sessions."""

    model = StripeEvent

    async def find(self, event_id: str, *, lock: bool = False) -> StripeEvent | None:
        """One event, or None."""
        return await self.one(StripeEvent.id == event_id, lock=lock)

    async def store(self, values: dict[str, Any]) -> bool:
        """Insert an event, or count one more delivery of it; whether it is new."""
        statement: Any = (
            insert(StripeEvent)
            .values(**values)
            .on_conflict_do_update(index_elements=["id"], set_={"deliveries": StripeEvent.deliveries + 1})
            .returning(literal_column("xmax = 0"))
        )
        return bool((await (await self.session.connection()).execute(statement)).scalar_one())

    async def wake(self, event_id: str, *, at: datetime | None = None, once: bool = True) -> int | None:
        """Queue the job that processes this event; `once`: unless one is waiting already."""
        return await JobRepository(self.session).add(
            name=JOB,
            queue="stripe",
            priority=0,
            arguments={"event_id": event_id},
            lock=None,
            queueing_lock=f"{JOB}:{event_id}" if once else None,
            at=at,
        )

    async def begin(self, event_id: str) -> Taken | None:
        """Count an attempt at a pending event; None when it is not pending (any more)."""
        statement = (
            update(StripeEvent)
            .where(StripeEvent.id == event_id, StripeEvent.status == "pending")
            .values(attempts=StripeEvent.attempts + 1)
            .returning(StripeEvent, func.clock_timestamp())
            .execution_options(populate_existing=True, synchronize_session=False)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else Taken(row[0], row[1])

    async def moment(self) -> datetime:
        """The database's time at this very moment, which `begin` answers too."""
        moment: datetime = (await self.session.execute(select(func.clock_timestamp()))).scalar_one()
        return moment

    async def lock_object(self, stripe_id: str) -> None:
        """Let nobody else apply anything about this object until the transaction ends."""
        await self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(stripe_id, 0))))

    async def close(
        self,
        event_id: str,
        status: str,
        *,
        organization_id: UUID | None = None,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """End a pending event; False when it has ended already, and then nothing else may be kept."""
        statement = (
            update(StripeEvent)
            .where(StripeEvent.id == event_id, StripeEvent.status == "pending")
            .values(
                status=status,
                result=result,
                last_error=error,
                processed_at=func.clock_timestamp(),
                **({"organization_id": organization_id} if organization_id else {}),
            )
            .execution_options(synchronize_session=False)
        )
        found = await self.session.execute(statement)
        return bool(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE answers with a CursorResult

    async def put_off(self, event_id: str, *, until: datetime, error: str) -> bool:
        """Let a pending event be tried again at that time."""
        statement = (
            update(StripeEvent)
            .where(StripeEvent.id == event_id, StripeEvent.status == "pending")
            .values(next_attempt_at=until, last_error=error)
            .execution_options(synchronize_session=False)
        )
        found = await self.session.execute(statement)
        return bool(found.rowcount)  # type: ignore[attr-defined]  # as above

    async def overdue(self, before: datetime, limit: int) -> Sequence[str]:
        """Pending events whose time passed before that moment, oldest first."""
        statement = (
            select(StripeEvent.id)
            .where(StripeEvent.status == "pending", StripeEvent.next_attempt_at < before)
            .order_by(StripeEvent.next_attempt_at)
            .limit(limit)
        )
        return (await self.session.scalars(statement)).all()

    async def was_applied(self, event_type: str, object_id: str) -> bool:
        """Whether an event of this type about this object has had its effect already."""
        statement = select(literal(1)).where(
            StripeEvent.object_id == object_id, StripeEvent.type == event_type, StripeEvent.status == "done"
        )
        return await self.session.scalar(statement.limit(1)) is not None

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Which of these are in the inbox."""
        found = await self.session.scalars(select(StripeEvent.id).where(StripeEvent.id.in_(event_ids)))
        return set(found)

    async def page(
        self, wanted: EventFilter, *, after: tuple[datetime, str] | None, offset: int, limit: int
    ) -> Sequence[Row[Any]]:
        """Events behind a position, newest first, without their payloads."""
        statement = select(*SUMMARY).where(*wanted.conditions())
        if after is not None:
            here = tuple_(StripeEvent.received_at, StripeEvent.id)
            there = tuple_(literal(after[0], StripeEvent.received_at.type), literal(after[1]))
            statement = statement.where(here < there)
        ordered = statement.order_by(StripeEvent.received_at.desc(), StripeEvent.id.desc())
        return (await self.session.execute(ordered.offset(offset).limit(limit))).all()

    async def count(self, wanted: EventFilter, cap: int) -> int:
        """How many events there are, counted up to `cap`."""
        some = select(literal(1)).select_from(StripeEvent).where(*wanted.conditions()).limit(cap)
        return int(await self.session.scalar(select(func.count()).select_from(some.subquery())) or 0)

    async def empty_payloads(self, before: datetime, limit: int) -> int:
        """Forget what was delivered before that moment, of events that have ended; how many there were."""
        old = (
            select(StripeEvent.id)
            .where(
                StripeEvent.received_at < before,
                StripeEvent.status != "pending",
                StripeEvent.payload != {},
            )
            .limit(limit)
        )
        found = await self.session.execute(
            update(StripeEvent)
            .where(StripeEvent.id.in_(old))
            .values(payload={})
            .execution_options(synchronize_session=False)
        )
        return int(found.rowcount)  # type: ignore[attr-defined]  # as above

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove events that were received before that moment and have ended; how many there were."""
        old = (
            select(StripeEvent.id)
            .where(StripeEvent.received_at < before, StripeEvent.status != "pending")
            .limit(limit)
        )
        found = await self.session.execute(
            delete(StripeEvent).where(StripeEvent.id.in_(old)).execution_options(synchronize_session=False)
        )
        return int(found.rowcount)  # type: ignore[attr-defined]  # as above
