"""Mail in the background: from events to queued mails, and from the queue to a sender."""

from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import defer, job
from app.repositories.notifications import EmailRepository
from app.services.notifications.mailing import enqueue, send, senders_of
from app.services.notifications.requests import COMPOSERS

KEPT = timedelta(days=30)
STEP = 500


@handler("mail")
async def queue_mails(session: SystemSession, event: EventRow) -> None:
    """Queue what this event mails, once per recipient, and a job for each."""
    compose = COMPOSERS[event.type]
    whose = {"organization_id": event.organization_id and str(event.organization_id)}
    for request in await compose(session, event.type, {**whose, **event.data}, event.private):
        email_id = await enqueue(session, event.event_id, request)
        if email_id is not None:
            await defer(session, "mail.send", email_id=email_id)


@job("mail.send", queue="mail")
async def send_mail(database: Database, *, email_id: str) -> None:
    """Try to send one mail; what is refused for now is taken up again by the sweep."""
    await send(database, senders_of(database), UUID(email_id))


@job("mail.sweep", queue="maintenance", cron="* * * * * */10")
async def sweep_mails(database: Database) -> None:
    """Queue again what is due: later tries, and what a worker left when it died."""
    if not senders_of(database):
        return
    async with database.transaction() as session:
        # A mail that was queued a moment ago has a job of its own; the sweep only looks after the late ones.
        for email_id in await EmailRepository(session).due(clock.now() - timedelta(seconds=5), STEP):
            await defer(session, "mail.send", queueing_lock=f"mail:{email_id}", email_id=email_id)


@job("mail.prune", queue="maintenance", cron="40 3 * * *")
async def prune_mails(database: Database) -> None:
    """Forget mails after thirty days, in small transactions."""
    gone = STEP
    while gone == STEP:
        async with database.transaction() as session:
            gone = await EmailRepository(session).forget(clock.now() - KEPT, STEP)
