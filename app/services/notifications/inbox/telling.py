"""Owns telling people: from a fact to notices, mails and push messages, each once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.clients.push import sender
from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.events import emit_all
from app.core.ids import uuid7
from app.models.notifications.inbox import LONGEST_MESSAGE, LONGEST_TITLE
from app.repositories.notifications import (
    DeliveryRepository,
    NoticeRepository,
    Reader,
    ReaderRepository,
    lock_notices,
)
from app.services.notifications.categories import ALWAYS_TOLD
from app.services.notifications.inbox.events import NotificationCreated
from app.services.notifications.inbox.history import cut
from app.services.notifications.inbox.notices import MAKERS, Fact, Notice, Words
from app.services.notifications.mailing import enqueue_all
from app.services.notifications.preferences.deciding import decided, is_considered
from app.services.notifications.requests import MailRequest

MOST_AT_ONCE = 500
"""People who are told in one transaction."""

USEFUL_FOR = timedelta(hours=24)
LONGEST_LABEL = 60
LONGEST_PATH = 512
TEMPLATE = "notification"


@dataclass(slots=True)
class Told:
    """What is left to do in the transaction when the rows are written: jobs, and then `tell_tabs`."""

    notices: list[tuple[UUID, UUID]] = field(default_factory=list)
    """People, and what they find in the application."""

    mails: list[UUID] = field(default_factory=list)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    next: list[tuple[int, UUID]] = field(default_factory=list)
    """Notices with more people: their number, and the last one who was told."""


async def tell(
    session: SystemSession, fact: Fact, *, number: int | None = None, after: UUID | None = None
) -> Told:
    """Tell everybody of an event; or go on with one of its notices behind a person.

    Told twice, nothing happens the second time: every row has a key.
    """
    told = Told()
    for position, notice in enumerate(await MAKERS[fact.type](session, fact)):
        if number is None or number == position:
            readers = await _readers(session, notice, after)
            if len(readers) > MOST_AT_ONCE:
                readers = readers[:MOST_AT_ONCE]
                told.next.append((position, readers[-1].user_id))
            is_left_out = None if notice.is_for_actor else fact.actor_id
            await _tell(session, fact, notice, [one for one in readers if one.user_id != is_left_out], told)
    return told


async def tell_tabs(session: SystemSession, notices: Sequence[tuple[UUID, UUID]]) -> None:
    """Tell people's tabs of new notices and of how many are unread.

    The last thing of a transaction: until it ends, nobody else can change the notices of these people.
    """
    people = {user_id for user_id, _ in notices}
    if not people:
        return
    await lock_notices(session, people)
    counts = await NoticeRepository(session).unread_counts(people)
    created = [
        NotificationCreated(user_id=user_id, notification_id=notice_id, unread_count=counts[user_id])
        for user_id, notice_id in notices
    ]
    await emit_all(session, created)


async def _readers(session: SystemSession, notice: Notice, after: UUID | None) -> list[Reader]:
    page: dict[str, Any] = {"category": notice.category, "after": after, "limit": MOST_AT_ONCE + 1}
    repository = ReaderRepository(session)
    if notice.is_for_anybody:
        is_always_told = notice.category in ALWAYS_TOLD
        return await repository.people(notice.people, is_always_told=is_always_told, **page)
    if notice.organization_id is None:
        raise LookupError("a notice to members names their organisation")
    if notice.holders is not None:
        return await repository.holders(notice.organization_id, notice.holders, also=notice.people, **page)
    return await repository.members(notice.organization_id, notice.people, **page)


async def _tell(
    session: SystemSession, fact: Fact, notice: Notice, readers: Sequence[Reader], told: Told
) -> None:
    wanted = [one for one in readers if decided(notice.category, "in_app", one.wishes)]
    made = await NoticeRepository(session).add_all([_row(fact, notice, reader) for reader in wanted])
    told.notices += made.items()
    rows: list[dict[str, Any]] = []
    mails: list[MailRequest] = []
    pushes: list[dict[str, Any]] = []
    for reader in readers:
        rows += _mail(fact, notice, reader, mails)
        rows += _push(fact, notice, reader, made.get(reader.user_id), pushes)
    new = await DeliveryRepository(session).add_all(rows)
    told.mails += await enqueue_all(session, fact.event_id, mails)
    told.pushes += [push for push in pushes if push["delivery_id"] in new]


def _row(fact: Fact, notice: Notice, reader: Reader) -> dict[str, Any]:
    words = words_for(notice, reader)
    return {
        "id": uuid7(),
        "user_id": reader.user_id,
        "organization_id": notice.organization_id,
        "event_id": fact.event_id,
        "type": notice.level,
        "category": notice.category,
        "event_type": fact.type,
        "title": words.title,
        "message": words.message,
        "action_url": cut(notice.path, LONGEST_PATH) if notice.path else None,
        "action_label": words.action if notice.path else None,
        "dedupe_key": notice.key or str(fact.event_id),
        "metadata_": dict(notice.ids),
    }


def words_for(notice: Notice, reader: Reader) -> Words:
    """The notice in the reader's language, no longer than its columns."""
    words = notice.words["fr" if reader.locale == "fr" else "en"]
    return Words(
        cut(words.title, LONGEST_TITLE),
        cut(words.message, LONGEST_MESSAGE),
        cut(words.action, LONGEST_LABEL) if words.action else None,
    )


def _mail(fact: Fact, notice: Notice, reader: Reader, mails: list[MailRequest]) -> list[dict[str, Any]]:
    """The mail, whose row in the history comes when it is queued; or the row that says why there is none."""
    if notice.mail == "never":
        return []
    is_due = notice.mail == "unless_switched_off"
    is_on = decided(notice.category, "email", {"email": True, **reader.wishes} if is_due else reader.wishes)
    if not is_on:
        if is_due or is_considered(notice.category, "email", reader.wishes):
            return [_delivery(fact, notice, reader, "email", reason="preference_off")]
        return []
    if reader.email_confirmed_at is None:
        return [_delivery(fact, notice, reader, "email", reason="unconfirmed_address")]
    words = words_for(notice, reader)
    mails.append(
        MailRequest(
            template=notice.template,
            to=reader.email,
            locale=reader.locale,
            category=notice.category,  # type: ignore[arg-type]  # makers name categories of the list
            expires_at=clock.now() + USEFUL_FOR,
            user_id=reader.user_id,
            organization_id=notice.organization_id,
            variables={
                "name": reader.name,
                "title": words.title,
                "message": words.message,
                "action_url": f"{get_settings().app_url}{notice.path or ''}",
                "action_label": words.action or "",
                **notice.facts.get("fr" if reader.locale == "fr" else "en", {}),
            },
        )
    )
    return []


def _push(
    fact: Fact,
    notice: Notice,
    reader: Reader,
    notification_id: UUID | None,
    pushes: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The rows of push messages, one for each browser, with their jobs; or the row that says why none."""
    if not decided(notice.category, "push", reader.wishes):
        if is_considered(notice.category, "push", {}):
            return [_delivery(fact, notice, reader, "push", reason="preference_off")]
        return []
    if sender() is None:
        return [_delivery(fact, notice, reader, "push", reason="not_configured")]
    if not reader.browsers:
        return [_delivery(fact, notice, reader, "push", reason="no_subscription")]
    words = words_for(notice, reader)
    rows = []
    for browser in reader.browsers:
        row = _delivery(fact, notice, reader, "push", target=browser, notification_id=notification_id)
        message = {
            "id": str(notification_id or fact.event_id),
            "title": words.title,
            "message": words.message,
            "action_url": notice.path,
            "category": notice.category,
        }
        pushes.append({"delivery_id": row["id"], "push_subscription_id": browser, "message": message})
        rows.append(row)
    return rows


def _delivery(
    fact: Fact,
    notice: Notice,
    reader: Reader,
    channel: str,
    *,
    reason: str | None = None,
    target: UUID | None = None,
    notification_id: UUID | None = None,
) -> dict[str, Any]:
    """A row of the history: `queued`, or `skipped` for a reason."""
    return {
        "id": uuid7(),
        "user_id": reader.user_id,
        "notification_id": notification_id,
        "event_id": fact.event_id,
        "category": notice.category,
        "channel": channel,
        "state": "queued" if reason is None else "skipped",
        "reason": reason,
        "title": words_for(notice, reader).title,
        "dedupe_key": f"{fact.event_id}:{channel}:{target or '-'}",
        "completed_at": None if reason is None else clock.now(),
    }
