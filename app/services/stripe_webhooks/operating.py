"""Owns what the platform's staff sees of the inbox, the outbox and the differences, and does about them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Unscoped
from app.core.errors import Conflict, NotFound
from app.core.paging import Keyset, Pager, Rows, Sort, offset_of
from app.models.stripe_webhooks import StripeCommand, StripeDifference
from app.repositories.stripe_webhooks.commands import OPEN, CommandRepository
from app.repositories.stripe_webhooks.differences import DifferenceRepository
from app.repositories.stripe_webhooks.events import EventFilter, EventRepository
from app.repositories.stripe_webhooks.queue import wake_reconciliation, wake_repair
from app.schemas.stripe_webhooks import (
    DifferenceQuery,
    DifferenceRead,
    RunStarted,
    StripeCommandQuery,
    StripeCommandRead,
    StripeEventQuery,
    StripeEventRead,
    StripeEventSummary,
)
from app.services.stripe_webhooks.paging import make_position, read_position, scope_of
from app.services.stripe_webhooks.refusals import require_stripe

NEWEST = "-created_at"

COMMANDS = Pager(
    "stripe_commands",
    Keyset(StripeCommand.created_at, StripeCommand.id),
    {NEWEST: Sort(StripeCommand.created_at, True, has_cursor=True)},
)
DIFFERENCES = Pager(
    "stripe_differences",
    Keyset(StripeDifference.first_seen_at, StripeDifference.id),
    {NEWEST: Sort(StripeDifference.first_seen_at, True, has_cursor=True)},
)

RETRYABLE = frozenset({"dead", "skipped", "pending"})


class StripeOperations:
    """For the platform's staff: it sees the rows of every organisation."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.events = EventRepository(session)
        self.commands = CommandRepository(session)
        self.differences = DifferenceRepository(session)

    async def list_events(self, query: StripeEventQuery) -> Rows[StripeEventSummary]:
        """A page of the inbox, newest first, without payloads."""
        wanted = EventFilter(
            status=query.status,
            type=query.type,
            object_id=query.object_id,
            organization_id=query.organization_id,
            since=query.since,
            until=query.until,
        )
        scope = scope_of(query, str(self.principal.actor_id))
        after = read_position(scope, query.cursor)
        offset = offset_of(query)
        total = None
        if query.page is not None or query.count:
            total = await self.events.count(wanted, get_settings().list_total_cap)
        found = await self.events.page(wanted, after=after, offset=offset, limit=query.limit + 1)
        items = found[: query.limit]
        last = items[-1] if len(found) > query.limit else None
        cursor = make_position(scope, (last.received_at, last.id)) if last is not None else None
        return Rows(items, cursor, total).map(StripeEventSummary.model_validate)

    async def get_event(self, event_id: str) -> StripeEventRead:
        """An event with its payload; 404."""
        found = await self.events.find(event_id)
        if found is None:
            raise NotFound()
        return StripeEventRead.model_validate(found)

    async def retry_event(self, event_id: str) -> StripeEventSummary:
        """Process an event once more, from its first attempt on; 404, 409 `event_not_retryable`."""
        found = await self.events.find(event_id, lock=True)
        if found is None:
            raise NotFound()
        if found.status not in RETRYABLE:
            raise Conflict("event_not_retryable", "This event has had its effect.")
        found.status, found.attempts = "pending", 0
        found.next_attempt_at = await self.session.now()
        found.processed_at = found.last_error = found.result = None
        await self.session.flush()
        await self.events.wake(event_id, once=False)
        return StripeEventSummary.model_validate(found)

    async def list_commands(self, query: StripeCommandQuery) -> Rows[StripeCommandRead]:
        """A page of the outbox, newest first."""
        statement = self.commands.select()
        if query.status is not None:
            statement = statement.where(StripeCommand.status == query.status)
        if query.kind is not None:
            statement = statement.where(StripeCommand.kind == query.kind)
        rows = await COMMANDS.rows(self.session, statement, query, NEWEST)
        return rows.map(StripeCommandRead.model_validate)

    async def retry_command(self, command_id: UUID) -> StripeCommandRead:
        """Send an open command now instead of after its pause; 404, 409 `command_not_retryable`.

        What has failed stays so: whatever waited for it was given back.
        """
        found = await self.commands.one(StripeCommand.id == command_id, lock=True)
        if found is None:
            raise NotFound()
        if found.status not in OPEN:
            raise Conflict("command_not_retryable", "This command has come to its end.")
        found.attempts = 0
        found.next_attempt_at = await self.session.now()
        await self.session.flush()
        await self.commands.wake(found.organization_id, found.id)
        return StripeCommandRead.model_validate(found)

    async def list_differences(self, query: DifferenceQuery) -> Rows[DifferenceRead]:
        """A page of what reconciliation found, newest first."""
        statement = self.differences.listed()
        if query.status is not None:
            statement = statement.where(StripeDifference.status == query.status)
        if query.kind is not None:
            statement = statement.where(StripeDifference.kind == query.kind)
        rows = await DIFFERENCES.rows(self.session, statement, query, NEWEST, is_scalar=False)
        return rows.map(DifferenceRead.model_validate)

    async def run(self) -> RunStarted:
        """Queue the comparison with Stripe, unless it waits already. 503 `billing_not_configured`."""
        require_stripe()
        await wake_reconciliation(self.session)
        return RunStarted(queued_at=await self.session.now())

    async def repair(self, difference_id: UUID) -> DifferenceRead:
        """Queue a repair; 404, 409 `difference_closed` or `difference_not_repairable`."""
        found = await self._open(difference_id)
        if found.repair is None:
            raise Conflict(
                "difference_not_repairable", "No function repairs this; put it right at Stripe, or ignore it."
            )
        await wake_repair(self.session, difference_id, by=str(self.principal.actor_id))
        return DifferenceRead.model_validate(found)

    async def ignore(self, difference_id: UUID, note: str) -> DifferenceRead:
        """Close a difference about which nothing is to be done, and say why; 404, 409 `difference_closed`."""
        found = await self._open(difference_id)
        found.status, found.closed_at = "ignored", await self.session.now()
        found.closed_by = f"{self.principal.actor_id}: {note}"
        await self.session.flush()
        return DifferenceRead.model_validate(found)

    async def _open(self, difference_id: UUID) -> StripeDifference:
        found = await self.differences.get(difference_id, lock=True)
        if found is None:
            raise NotFound()
        if found.status != "open":
            raise Conflict("difference_closed", "Somebody has dealt with this difference.")
        return found


Operations = Annotated[StripeOperations, Depends()]
