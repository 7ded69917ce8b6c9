"""Mail in the background: from events to queued mails, and from the queue to a sender."""

from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import defer, defer_all, job
from app.repositories.notifications import EmailRepository
from app.services.notifications.bounces import forgive_bounces
from app.services.notifications.inbox.history import delivery_finished
from app.services.notifications.mailing import enqueue_all
from app.services.notifications.requests import COMPOSERS
from app.services.notifications.senders import senders_of
from app.services.notifications.sending import send

KEPT = timedelta(days=30)
LATE = timedelta(seconds=5)
TOLD = timedelta(hours=1)
"""How long after its end a mail keeps what it told, for a retry by the staff."""

STEP = 500


@handler("mail")
async def queue_mails(session: SystemSession, event: EventRow) -> None:
    """Queue what this event mails, once per recipient, and a job for each."""
    compose = COMPOSERS[event.type]
    whose = {"organization_id": event.organization_id and str(event.organization_id)}
    requests = await compose(session, event.type, {**whose, **event.data}, event.private)
    queued = await enqueue_all(session, event.event_id, requests)
    await defer_all(session, "mail.send", [{"email_id": email_id} for email_id in queued])


@job("mail.send", queue="mail")
async def send_mail(database: Database, *, email_id: str) -> None:
    """Try to send one mail; what is refused for now is taken up again by the sweep."""
    await send(database, senders_of(database), UUID(email_id))


@handler("mail_address")
async def forgive(session: SystemSession, event: EventRow) -> None:
    """Whoever has just proved an address gets mail there."""
    await forgive_bounces(session, UUID(event.data["user_id"]))


@handler("mail_retry")
async def retry_mail(session: SystemSession, event: EventRow) -> None:
    """Try a mail again that was given up."""
    email_id = UUID(event.data["email_id"])
    if await EmailRepository(session).revive(email_id, clock.now()):
        await delivery_finished(session, email_id, "queued")
        await defer(session, "mail.send", email_id=email_id)


@job("mail.sweep", queue="maintenance", cron="* * * * * */10")
async def sweep_mails(database: Database) -> None:
    """Queue again what is due: later tries, and what a worker left when it died; end what is too late."""
    now = clock.now()
    async with database.transaction() as session:
        emails = EmailRepository(session)
        # A mail that was queued a moment ago has a job of its own; the sweep only looks after the late ones.
        late = now - LATE
        due = emails.due(late, STEP) if senders_of(database) else emails.too_late(now, STEP)
        jobs = [{"email_id": email_id} for email_id in await due]
        await defer_all(session, "mail.send", jobs, queueing_lock="mail:{email_id}")


@job("mail.wipe", queue="maintenance", cron="*/5 * * * *")
async def wipe_mails(database: Database) -> None:
    """Forget what mails said an hour after they ended."""
    wiped = STEP
    while wiped == STEP:
        async with database.transaction() as session:
            wiped = await EmailRepository(session).wipe(clock.now() - TOLD, STEP)


@job("mail.prune", queue="maintenance", cron="40 3 * * *")
async def prune_mails(database: Database) -> None:
    """Forget mails after thirty days, in small transactions."""
    gone = STEP
    while gone == STEP:
        async with database.transaction() as session:
            gone = await EmailRepository(session).forget(clock.now() - KEPT, STEP)
