"""What mails leave behind: no address, name, code or token in clear in any table or log."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import select, text

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.notifications import wipe_mails
from app.models.notifications import NotificationDelivery
from app.services.notifications.mailing import enqueue
from app.services.notifications.requests import MailLink
from app.services.notifications.senders import SenderBoard
from app.services.notifications.sending import send
from tests.factories.mail import email_of, make_email, make_suppression, request
from tests.support.events import handle_events
from tests.support.mail_providers import PlayedBrevo
from tests.support.personas import Persona

ROWS = (
    "emails",
    "email_suppressions",
    "email_templates",
    "event_log",
    "event_outbox",
    "notification_deliveries",
    "procrastinate_jobs",
)


async def dump(db: SystemSession) -> str:
    """Every row of the tables that mails write to, as text and as bytes in hex."""
    parts: list[str] = []
    for table in ROWS:
        rows = await db.execute(text(f"SELECT row_to_json(t)::text FROM {table} AS t"))  # noqa: S608
        parts += rows.scalars().all()
    return "\n".join(parts).lower()


async def test_rows_when_mails_were_sent_and_refused(
    db: SystemSession,
    database: Database,
    brevo: PlayedBrevo,
    capsys: pytest.CaptureFixture[str],
) -> None:
    link = MailLink("magic_link", uuid7(), "/magic-link")
    facts = {"name": "Zoé Secrète", "device": "Firefox", "place": "FR", "time": "now"}
    await make_suppression(db, "blocked.person@luneo.test")
    for to in ("zoe.secret@luneo.test", "blocked.person@luneo.test", "gone@unknown.luneo.test"):
        email_id = await make_email(db, template="magic_link", to=to, variables=facts, link=link)
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    (mail,) = brevo.mails
    token = mail["textContent"].partition("token=")[2].split()[0]
    assert token.startswith("luneo_ot_")
    left = await dump(db) + capsys.readouterr().out.lower()
    for secret in ("zoe.secret", "blocked.person", "gone@", "secrète", "luneo_ot_", token.lower()):
        assert secret not in left
        assert secret.encode().hex() not in left
    assert str(link.token_id) not in left


async def test_link_when_a_mail_ends_its_category(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, brevo: PlayedBrevo
) -> None:
    """The link in the header of one mail stops the next one, and leaves other categories alone."""

    async def mailed(category: str) -> str:
        email_id = await make_email(db, to=alice.email, user_id=alice.user_id, category=category)
        await send(database, [brevo.sender], email_id, board=SenderBoard())
        return (await email_of(db, email_id)).status

    waiting = await make_email(db, to=alice.email, user_id=alice.user_id, category="team")
    assert await mailed("team") == "sent"
    headers = brevo.mails[0]["headers"]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = headers["List-Unsubscribe"].strip("<>")
    assert address.startswith("http://api.luneo.test/api/notifications/unsubscribe/")
    assert "/settings/notifications" in brevo.mails[0]["textContent"]
    assert (await client.get(address)).json()["is_subscribed"] is True
    one_click = await client.post(address, data={"List-Unsubscribe": "One-Click"})
    assert (one_click.status_code, one_click.json()["is_subscribed"]) == (200, False)
    # What waits already is not sent either, and what comes is not even queued.
    await send(database, [brevo.sender], waiting, board=SenderBoard())
    assert (await email_of(db, waiting)).status == "suppressed"
    unwanted = request(to=alice.email, user_id=alice.user_id, category="team")
    assert await enqueue(db, uuid7(), unwanted) is None
    await db.commit()
    assert await mailed("account") == "sent"
    assert "List-Unsubscribe" not in brevo.mails[-1]["headers"]
    assert len(brevo.mails) == 2
    rows = await db.scalars(select(NotificationDelivery).order_by(NotificationDelivery.id))
    found = [(row.category, row.state, row.reason) for row in rows]
    assert found == [
        ("team", "skipped", "preference_off"),
        ("team", "sent", None),
        ("team", "skipped", "preference_off"),
        ("account", "sent", None),
    ]


async def test_mail_when_it_was_wiped_is_still_in_the_history(
    db: SystemSession, database: Database, alice: Persona, brevo: PlayedBrevo
) -> None:
    email_id = await make_email(db, to=alice.email, user_id=alice.user_id)
    await send(database, [brevo.sender], email_id, board=SenderBoard())
    with clock.travel(timedelta(hours=2)):
        await wipe_mails(database)
    await handle_events(database)
    (row,) = (await db.scalars(select(NotificationDelivery))).all()
    assert (row.email_id, row.state) == (email_id, "sent")
