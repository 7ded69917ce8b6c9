"""Notices in the background: from events to people, in parts where these are many."""

from uuid import UUID

import app.services.notifications.inbox.texts  # noqa: F401 - it registers who makes the notices
from app.core.database import Database, SystemSession
from app.jobs.handlers import EventRow, handler, row_of
from app.jobs.queue import defer, defer_all, job
from app.services.notifications.inbox.notices import Fact
from app.services.notifications.inbox.pruning import prune
from app.services.notifications.inbox.telling import Told, tell, tell_tabs
from app.services.notifications.inbox.trying import tell_test


@handler("notifications")
async def notify(session: SystemSession, event: EventRow) -> None:
    """Tell whoever is concerned, the first five hundred of them at once."""
    await _finish(session, event.event_id, await tell(session, _fact(event)))


@job("notifications.fan_out", queue="default", retry_after=(5, 30, 300, 1800))
async def fan_out(database: Database, *, event_id: str, number: int, after: str) -> None:
    """Tell the next five hundred people of one notice of an event."""
    row = await row_of(database, UUID(event_id))
    if row is None:
        return
    async with database.transaction() as session:
        told = await tell(session, _fact(row), number=number, after=UUID(after))
        await _finish(session, row.event_id, told)


@handler("test_notice")
async def send_test(session: SystemSession, event: EventRow) -> None:
    """Send the test that a person asked for."""
    told = await tell_test(session, event.event_id, UUID(event.data["user_id"]), event.data["channel"])
    await _finish(session, event.event_id, told)


@job("notifications.prune", queue="maintenance", cron="50 3 * * *")
async def prune_notices(database: Database) -> None:
    """Nightly: notices beyond their time or number, and old rows of the history."""
    await prune(database)


def _fact(event: EventRow) -> Fact:
    return Fact(
        event_id=event.event_id,
        type=event.type,
        organization_id=event.organization_id,
        actor_id=event.actor_id if event.actor_type == "user" else None,
        data=event.data,
        private=event.private,
    )


async def _finish(session: SystemSession, event_id: UUID, told: Told) -> None:
    await defer_all(session, "mail.send", [{"email_id": email_id} for email_id in told.mails])
    await defer_all(session, "push.send", told.pushes)
    for number, after in told.next:
        await defer(session, "notifications.fan_out", event_id=event_id, number=number, after=after)
    await tell_tabs(session, told.notices)
