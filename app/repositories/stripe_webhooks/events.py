"""Questions to stripe_events: the inbox, what is due in it, and how each event ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from app.models.stripe_webhooks import StripeEvent
from app.repositories.base import Repository
from app.repositories.jobs import JobRepository

JOB = "process_stripe_event"


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

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Which of these are in the inbox."""
        found = await self.session.scalars(select(StripeEvent.id).where(StripeEvent.id.in_(event_ids)))
        return set(found)

    def listed(self) -> Select[Any]:
        """The statement of a list: all columns but the payload."""
        columns = [column for column in StripeEvent.__mapper__.column_attrs if column.key != "payload"]
        return select(*(getattr(StripeEvent, column.key) for column in columns))

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
