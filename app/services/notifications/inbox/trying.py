"""Owns how a test notice reaches the person who asked for it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.notifications import NotificationDelivery
from app.repositories.notifications import DeliveryRepository, NoticeRepository, Reader, ReaderRepository
from app.services.notifications.inbox.notices import Words, in_both
from app.services.notifications.inbox.telling import TEMPLATE, Told
from app.services.notifications.inbox.testing import CATEGORY
from app.services.notifications.mailing import enqueue
from app.services.notifications.requests import MailRequest

USEFUL_FOR = timedelta(hours=1)
PAGE = "/settings/notifications"

WORDS = in_both(
    Words("Notification d'essai", "Ce canal fonctionne : vous recevez les messages de Luneo.", "Réglages"),
    Words("Test notice", "This channel works: you are reached by Luneo's messages.", "Settings"),
)


async def tell_test(session: SystemSession, event_id: UUID, user_id: UUID, channel: str) -> Told:
    """Send the test by its channel, and complete its row of the history; the caller does what is left."""
    told = Told()
    deliveries = DeliveryRepository(session)
    row = await deliveries.one(
        NotificationDelivery.user_id == user_id,
        NotificationDelivery.dedupe_key == f"{event_id}:{channel}:-",
    )
    readers = await ReaderRepository(session).people(
        [user_id], category=CATEGORY, is_always_told=True, after=None, limit=1
    )
    if row is None or not readers:
        return told
    reader = readers[0]
    words = WORDS["fr" if reader.locale == "fr" else "en"]
    row.title = words.title
    await session.flush()
    match channel:
        case "in_app":
            await _keep(session, event_id, reader, words, told)
            await deliveries.finish(row.id, state="delivered", completed_at=clock.now())
        case "email":
            await _mail(session, event_id, reader, words, row.id, told)
        case _:
            await _push(session, row, reader, words, told)
    return told


async def _keep(session: SystemSession, event_id: UUID, reader: Reader, words: Words, told: Told) -> None:
    made = await NoticeRepository(session).add_all(
        [
            {
                "id": uuid7(),
                "user_id": reader.user_id,
                "event_id": event_id,
                "type": "info",
                "category": CATEGORY,
                "title": words.title,
                "message": words.message,
                "action_url": PAGE,
                "action_label": words.action,
                "dedupe_key": str(event_id),
            }
        ]
    )
    told.notices += made.items()


async def _mail(
    session: SystemSession, event_id: UUID, reader: Reader, words: Words, delivery_id: UUID, told: Told
) -> None:
    if reader.email_confirmed_at is None:
        await DeliveryRepository(session).finish(
            delivery_id, state="skipped", reason="unconfirmed_address", completed_at=clock.now()
        )
        return
    request = MailRequest(
        template=TEMPLATE,
        to=reader.email,
        locale=reader.locale,
        category=CATEGORY,
        expires_at=clock.now() + USEFUL_FOR,
        user_id=reader.user_id,
        variables={
            "name": reader.name,
            "title": words.title,
            "message": words.message,
            "action_url": f"{get_settings().app_url}{PAGE}",
            "action_label": words.action or "",
        },
    )
    # The row that waits in the history under this event gets the mail.
    email_id = await enqueue(session, event_id, request)
    if email_id is not None:
        told.mails.append(email_id)


async def _push(
    session: SystemSession, row: NotificationDelivery, reader: Reader, words: Words, told: Told
) -> None:
    deliveries = DeliveryRepository(session)
    if not reader.browsers:
        await deliveries.finish(row.id, state="skipped", reason="no_subscription", completed_at=clock.now())
        return
    # The row that was answered is the first browser's; each other one has a row of its own.
    others: list[dict[str, Any]] = [
        {
            "id": uuid7(),
            "user_id": reader.user_id,
            "event_id": row.event_id,
            "category": CATEGORY,
            "channel": "push",
            "state": "queued",
            "title": words.title,
            "dedupe_key": f"{row.event_id}:push:{browser}",
        }
        for browser in reader.browsers[1:]
    ]
    await deliveries.add_all(others)
    ids = [row.id, *(other["id"] for other in others)]
    for delivery_id, browser in zip(ids, reader.browsers, strict=True):
        message = {
            "id": str(row.event_id),
            "title": words.title,
            "message": words.message,
            "action_url": PAGE,
            "category": CATEGORY,
        }
        told.pushes.append({"delivery_id": delivery_id, "push_subscription_id": browser, "message": message})
