"""Owns the history of deliveries: what was mailed or pushed to a person, and how it ended."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.database import Owner, SystemSession
from app.core.ids import uuid7
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.notifications import NotificationDelivery
from app.models.notifications.inbox import LONGEST_TITLE
from app.repositories.notifications import DeliveryRepository
from app.schemas.notifications.inbox import DeliveryRead, HistoryQuery
from app.services.notifications.inbox.mail_titles import mail_title
from app.services.notifications.requests import MailRequest

OPEN = frozenset({"queued"})
"""States that are not an end."""

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "notification_deliveries",
    Keyset(NotificationDelivery.created_at, NotificationDelivery.id),
    {NEWEST_FIRST: Sort(NotificationDelivery.created_at, is_descending=True, has_cursor=True)},
)


class HistoryService:
    """What a person reads about how they were told."""

    def __init__(self, session: Owner) -> None:
        self.session = session

    async def list(self, query: HistoryQuery) -> Rows[DeliveryRead]:
        """The caller's deliveries, newest first."""
        statement = DeliveryRepository(self.session).history(
            channel=query.channel, state=query.state, category=query.category
        )
        return await PAGER.rows(self.session, statement, query, NEWEST_FIRST)


async def mails_queued(session: SystemSession, event_id: UUID, queued: Mapping[UUID, MailRequest]) -> None:
    """Note in the history that mails wait, by their ids; nothing for those to somebody without an account.

    Called in the transaction that queues them. A test notice has its row already, which gets the mail.
    """
    rows = [
        _mail_row(event_id, request, state="queued", email_id=email_id)
        for email_id, request in queued.items()
        if request.user_id is not None
    ]
    deliveries = DeliveryRepository(session)
    first_of_each = {row["user_id"]: row for row in reversed(rows)}
    adopted = await deliveries.adopt_mails(list(first_of_each.values()))
    # One event may send a person two mails, as to an old and to a new address.
    others = [row for row in rows if row["email_id"] not in adopted]
    await deliveries.add_all([{**row, "dedupe_key": f"{event_id}:email:{row['email_id']}"} for row in others])


async def mails_skipped(
    session: SystemSession, event_id: UUID, requests: Sequence[MailRequest], *, reason: str
) -> None:
    """Note in the history that mails were not queued, and why; nothing where there is a row already."""
    rows = [
        _mail_row(event_id, request, state="skipped", reason=reason, completed_at=clock.now())
        for request in requests
        if request.user_id is not None
    ]
    await DeliveryRepository(session).add_all(rows)


def _mail_row(event_id: UUID, request: MailRequest, **values: Any) -> dict[str, Any]:
    title = request.variables.get("title") or mail_title(request.template, request.locale)
    return {
        "id": uuid7(),
        "user_id": request.user_id,
        "event_id": event_id,
        "category": request.category,
        "channel": "email",
        "title": cut(title, LONGEST_TITLE),
        "dedupe_key": f"{event_id}:email:-",
        **values,
    }


async def delivery_finished(
    session: SystemSession,
    email_id: UUID,
    state: str,
    reason: str | None = None,
    *,
    provider: str | None = None,
) -> None:
    """Note how a mail ended: `state` is one of the table's, `reason` the code of an error or None.

    `queued` again (a later try) changes only the reason.
    """
    await DeliveryRepository(session).finish_mail(
        email_id,
        state=state,
        reason=reason,
        provider=provider,
        completed_at=None if state in OPEN else clock.now(),
    )


def cut(text: str, longest: int) -> str:
    """The text, shortened with `…` where it is longer than a column takes."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


History = Annotated[HistoryService, Depends()]
