"""Questions to stripe_commands: what Stripe is to do, who is doing it, and how it went."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, literal, or_, select, tuple_, update

from app.models.stripe_webhooks import StripeCommand
from app.repositories.base import Repository
from app.repositories.jobs import JobRepository

OPEN = ("pending", "sent")
"""What is still to be done."""

LEASE = timedelta(seconds=90)
"""How long whoever took a command has it to themselves."""

JOB = "run_stripe_command"


class CommandRepository(Repository[StripeCommand]):
    """The outbox to Stripe; the session decides whose commands are seen."""

    model = StripeCommand

    async def find(
        self, organization_id: UUID, command_id: UUID, *, lock: bool = False
    ) -> StripeCommand | None:
        """One command, or None."""
        return await self.one(
            StripeCommand.organization_id == organization_id, StripeCommand.id == command_id, lock=lock
        )

    async def has_open(self, organization_id: UUID, kinds: Sequence[str], params: Mapping[str, str]) -> bool:
        """Whether something of one of these kinds, with these among its params, is still to be done."""
        statement = select(literal(1)).where(
            StripeCommand.organization_id == organization_id,
            StripeCommand.kind.in_(kinds),
            StripeCommand.status.in_(OPEN),
            StripeCommand.params.contains(dict(params)),
        )
        return await self.session.scalar(statement.limit(1)) is not None

    async def has_ended_since(
        self, organization_id: UUID, kind: str, moment: datetime, *, besides: UUID
    ) -> bool:
        """Whether something else of this kind came to its end after that moment."""
        statement = select(literal(1)).where(
            StripeCommand.organization_id == organization_id,
            StripeCommand.kind == kind,
            StripeCommand.finished_at >= moment,
            StripeCommand.id != besides,
        )
        return await self.session.scalar(statement.limit(1)) is not None

    async def wake(
        self, organization_id: UUID, command_id: UUID, *, at: datetime | None = None, once: bool = False
    ) -> int | None:
        """Queue the job that runs this command; `once`: unless one waits that was queued so too."""
        return await JobRepository(self.session).add(
            name=JOB,
            queue="stripe",
            priority=0,
            arguments={"organization_id": str(organization_id), "command_id": str(command_id)},
            lock=None,
            queueing_lock=f"{JOB}:{command_id}" if once else None,
            at=at,
        )

    async def take(self, organization_id: UUID, command_id: UUID) -> StripeCommand | None:
        """Lease an open command that nobody holds, and count the attempt; None when there is none."""
        statement = (
            update(StripeCommand)
            .where(
                StripeCommand.organization_id == organization_id,
                StripeCommand.id == command_id,
                StripeCommand.status.in_(OPEN),
                or_(StripeCommand.lease_until.is_(None), StripeCommand.lease_until < func.now()),
            )
            .values(
                status="sent",
                attempts=StripeCommand.attempts + 1,
                lease_until=func.now() + LEASE,
                first_sent_at=func.coalesce(StripeCommand.first_sent_at, func.clock_timestamp()),
            )
            .returning(StripeCommand)
            .execution_options(populate_existing=True, synchronize_session=False)
        )
        found: StripeCommand | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def finish(
        self,
        organization_id: UUID,
        command_id: UUID,
        *,
        status: str,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """Record how it ended; False when somebody has done so already."""
        statement = (
            update(StripeCommand)
            .where(
                StripeCommand.organization_id == organization_id,
                StripeCommand.id == command_id,
                StripeCommand.status.in_(OPEN),
            )
            .values(
                status=status,
                lease_until=None,
                result=result,
                result_id=result.get("id") if result else None,
                error=error,
                finished_at=func.clock_timestamp(),
            )
            .execution_options(synchronize_session=False)
        )
        found = await self.session.execute(statement)
        return bool(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE answers with a CursorResult

    async def put_off(
        self, organization_id: UUID, command_id: UUID, *, until: datetime, error: dict[str, Any]
    ) -> None:
        """Let go of a leased command until it is tried again."""
        await self.session.execute(
            update(StripeCommand)
            .where(
                StripeCommand.organization_id == organization_id,
                StripeCommand.id == command_id,
                StripeCommand.status.in_(OPEN),
            )
            .values(lease_until=None, next_attempt_at=until, error=error)
            .execution_options(synchronize_session=False)
        )

    async def overdue(self, before: datetime, limit: int) -> Sequence[tuple[UUID, UUID]]:
        """Organisation and id of open commands whose time passed before that moment, oldest first."""
        statement = (
            select(StripeCommand.organization_id, StripeCommand.id)
            .where(StripeCommand.status.in_(OPEN), StripeCommand.next_attempt_at < before)
            .order_by(StripeCommand.next_attempt_at)
            .limit(limit)
        )
        return [(row[0], row[1]) for row in await self.session.execute(statement)]

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove commands that were written before that moment and have ended; how many there were."""
        old = (
            select(StripeCommand.organization_id, StripeCommand.id)
            .where(StripeCommand.created_at < before, StripeCommand.status.not_in(OPEN))
            .limit(limit)
        )
        found = await self.session.execute(
            delete(StripeCommand)
            .where(tuple_(StripeCommand.organization_id, StripeCommand.id).in_(old))
            .execution_options(synchronize_session=False)
        )
        return int(found.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a CursorResult
