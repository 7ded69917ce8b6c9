"""What is kept of notices and of their history, for how long, and how mails are called in it."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.inbox import prune_notices
from app.models.notifications import Notification, NotificationDelivery
from app.services.notifications.inbox import pruning
from app.services.notifications.inbox.history import cut, delivery_finished, mails_queued
from app.services.notifications.inbox.mail_titles import ANY_MAIL, mail_title
from app.services.notifications.mailing import enqueue
from app.services.notifications.requests import MailRequest
from app.services.notifications.templates import VARIABLES
from tests.factories.notifications import make_notice_delivery, make_notification
from tests.support.personas import Persona


async def count(db: SystemSession, model: type[Notification | NotificationDelivery]) -> int:
    return await db.scalar(select(func.count()).select_from(model)) or 0


async def test_notices_when_they_are_old(
    db: SystemSession, database: Database, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP", 2)
    now = clock.now()
    for days in (179, 181, 200, 400, 500, 600):
        await make_notification(db, owner=alice, created_at=now - timedelta(days=days))
    await prune_notices(database)
    assert await count(db, Notification) == 1
    monkeypatch.setattr(get_settings(), "notifications_retention_days", 30)
    await prune_notices(database)
    assert await count(db, Notification) == 0


async def test_notices_when_one_person_has_very_many(
    db: SystemSession, database: Database, alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go, in steps, and nobody else's."""
    monkeypatch.setattr(pruning, "MOST", 3)
    monkeypatch.setattr(pruning, "STEP", 2)
    now = clock.now()
    for number in range(8):
        await make_notification(
            db, owner=alice, title=f"N{number}", created_at=now - timedelta(minutes=number)
        )
    for _ in range(3):
        await make_notification(db, owner=bob)
    await prune_notices(database)
    left = (
        await db.scalars(
            select(Notification.title).where(Notification.user_id == alice.user_id).order_by("title")
        )
    ).all()
    assert left == ["N0", "N1", "N2"]
    assert await count(db, Notification) == 6


async def test_history_when_it_is_old(db: SystemSession, database: Database, alice: Persona) -> None:
    kept = await make_notice_delivery(db, owner=alice, created_at=clock.now() - timedelta(days=89))
    await make_notice_delivery(db, owner=alice, created_at=clock.now() - timedelta(days=91))
    await prune_notices(database)
    assert (await db.scalars(select(NotificationDelivery.id))).all() == [kept.id]


async def test_history_when_its_notice_or_mail_is_gone(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    notice = await make_notification(db, owner=alice)
    row = await make_notice_delivery(db, owner=alice, notification_id=notice.id)
    await db.delete(notice)
    await db.commit()
    await db.refresh(row)
    assert row.notification_id is None


def request(alice: Persona, **values: object) -> MailRequest:
    fields: dict[str, object] = {
        "template": "welcome",
        "to": alice.email,
        "locale": "en",
        "category": "account",
        "expires_at": clock.now() + timedelta(hours=1),
        "user_id": alice.user_id,
        "variables": {"name": "Alice"},
    }
    return MailRequest(**{**fields, **values})  # type: ignore[arg-type]


async def states(db: SystemSession) -> list[tuple[str, str | None, str | None]]:
    rows = await db.execute(
        select(NotificationDelivery.state, NotificationDelivery.reason, NotificationDelivery.provider)
    )
    return [(row.state, row.reason, row.provider) for row in rows]


async def test_history_when_a_mail_ends(db: SystemSession, alice: Persona) -> None:
    email_id = await enqueue(db, uuid7(), request(alice))
    assert email_id is not None
    assert await states(db) == [("queued", None, None)]
    await delivery_finished(db, email_id, "queued", "timeout")
    assert await states(db) == [("queued", "timeout", None)]
    await delivery_finished(db, email_id, "sent", provider="brevo")
    assert await states(db) == [("sent", None, "brevo")]
    row = (await db.scalars(select(NotificationDelivery).execution_options(populate_existing=True))).one()
    assert row.completed_at is not None
    assert row.title == "Welcome to Luneo"


async def test_history_when_an_event_mails_a_person_twice(db: SystemSession, alice: Persona) -> None:
    """As to an old and to a new address: both are in the history, and a repetition is in it once."""
    event_id = uuid7()
    await enqueue(db, event_id, request(alice))
    await enqueue(db, event_id, request(alice, to="other@luneo.test"))
    await enqueue(db, event_id, request(alice))
    assert await count(db, NotificationDelivery) == 2


async def test_history_when_nobody_has_the_address(db: SystemSession, alice: Persona) -> None:
    await enqueue(db, uuid7(), request(alice, user_id=None, to="buyer@example.com"))
    await delivery_finished(db, uuid7(), "sent")
    assert await count(db, NotificationDelivery) == 0


async def test_history_when_the_database_is_read(db: SystemSession, alice: Persona) -> None:
    """No address is in it, not even where the subject of the mail names one."""
    variables = {"email": "secret@example.com", "organization": "Maison", "name": "A"}
    mail = request(alice, template="invitation_declined", variables=variables)
    await mails_queued(db, uuid7(), {await _email(db, alice): mail})
    rows = (await db.execute(text("SELECT d::text FROM notification_deliveries d"))).scalars().all()
    assert rows
    assert not [row for row in rows if "@" in row]


async def _email(db: SystemSession, alice: Persona) -> UUID:
    email_id = await enqueue(db, uuid7(), request(alice, to="x@luneo.test"))
    assert email_id is not None
    return email_id


@pytest.mark.parametrize("locale", ["fr", "en"])
@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_title_when_a_mail_is_in_the_history(template: str, locale: str) -> None:
    title = mail_title(template, locale)
    assert "{" not in title
    assert 3 < len(title) <= 100


def test_title_when_the_template_is_unknown() -> None:
    assert mail_title("nothing", "en") == ANY_MAIL[1]


@pytest.mark.parametrize(("given", "expected"), [("abc", "abc"), ("abcd", "abcd"), ("abcde", "abc…")])
def test_text_when_it_is_cut(given: str, expected: str) -> None:
    assert cut(given, 4) == expected
