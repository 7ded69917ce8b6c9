"""Mail from cause to recipient: once per event, in their language, right after every kind of failure."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.mailer.smtp import SmtpSender
from app.core import clock
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.notifications import prune_mails, sweep_mails
from app.models.notifications import Email, EmailSuppression, MailOutbox
from app.services.notifications.mailing import enqueue
from app.services.notifications.requests import MailLink, MailRequest
from app.services.notifications.sending import send
from app.services.notifications.templates import LOCALES, VARIABLES, TemplateError, render
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.smtp_sink import Sink

PASSWORD = "correct horse battery"


def request(**values: object) -> MailRequest:
    fields: dict[str, object] = {
        "template": "welcome",
        "to": "zoe@luneo.test",
        "locale": "en",
        "category": "account",
        "expires_at": clock.now() + timedelta(hours=1),
        "variables": {"name": "Zoé"},
    }
    return MailRequest(**{**fields, **values})  # type: ignore[arg-type]


async def queued(db: SystemSession, **values: object) -> UUID:
    email_id = await enqueue(db, uuid7(), request(**values))
    assert email_id is not None
    await db.commit()
    return email_id


async def row(db: SystemSession, email_id: UUID) -> Email:
    return await db.get_one(Email, email_id, populate_existing=True)


@pytest.mark.parametrize(
    ("locale", "subject", "welcome"),
    [
        ("fr", "Confirmez votre adresse pour Luneo", "Bienvenue chez Luneo"),
        ("en", "Confirm your address for Luneo", "Welcome to Luneo"),
    ],
)
async def test_sign_up_when_the_mail_is_read_and_followed(
    client: AsyncClient, database: Database, locale: str, subject: str, welcome: str
):
    body = {"email": "zoe@luneo.test", "password": PASSWORD, "full_name": "Zoé <b>", "locale": locale}
    assert (await client.post("/api/auth/signup", json=body)).status_code == 202
    await handle_events(database)
    (mail,) = (await client.get("/sandbox/mail.json", params={"to": "zoe@luneo.test"})).json()["items"]
    assert mail["subject"] == subject
    assert (mail["template"], mail["locale"]) == ("email_confirmation", locale)
    assert "<b>" not in mail["html"].replace("<br>", "")
    link = mail["links"][0]
    assert link.startswith("http://app.luneo.test/confirm#token=luneo_ot_")
    assert len(mail["code"]) == 6
    confirmed = await client.post("/api/auth/confirm", json={"token": link.partition("token=")[2]})
    assert confirmed.status_code == 200
    await handle_events(database)
    newest = (await client.get("/sandbox/mail.json")).json()["items"][0]
    assert newest["subject"] == welcome


async def test_page_when_a_mail_holds_markup(client: AsyncClient, database: Database):
    body = {"email": "zoe@luneo.test", "password": PASSWORD, "full_name": "<script>alert(1)</script>"}
    await client.post("/api/auth/signup", json=body)
    await handle_events(database)
    page = await client.get("/sandbox/mail")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_queue_when_one_event_asks_twice(db: SystemSession):
    event_id = uuid7()
    assert await enqueue(db, event_id, request()) is not None
    assert await enqueue(db, event_id, request(to="ZOE@luneo.test")) is None
    assert await enqueue(db, event_id, request(to="other@luneo.test")) is not None


async def test_row_when_a_mail_waits_holds_neither_address_nor_token(db: SystemSession):
    link = MailLink("email_confirm", uuid7(), "/confirm")
    email = await row(db, await queued(db, link=link))
    kept = b"".join(value for value in vars(email).values() if isinstance(value, bytes))
    assert b"zoe" not in kept
    assert b"luneo_ot" not in kept
    assert link.token_id.bytes not in kept


async def test_send_when_the_server_takes_it(db: SystemSession, database: Database, smtp_sink: Sink):
    email_id = await queued(db)
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    email = await row(db, email_id)
    assert (email.status, email.provider, email.attempts) == ("sent", "smtp", 1)
    assert len(smtp_sink.mails) == 1
    assert smtp_sink.mails[0]["Message-ID"] == f"<{email.message_id}>"


async def test_send_when_the_server_refuses_for_now(db: SystemSession, database: Database, smtp_sink: Sink):
    email_id = await queued(db)
    smtp_sink.rcpt_reply = "451 4.7.1 later"
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    email = await row(db, email_id)
    assert (email.status, email.last_error_code) == ("queued", "refused")
    assert email.next_attempt_at is not None
    assert timedelta(seconds=20) < email.next_attempt_at - clock.now() <= timedelta(seconds=30)
    smtp_sink.rcpt_reply = None
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    assert smtp_sink.mails == []
    with clock.travel(timedelta(seconds=31)):
        await send(database, [SmtpSender(smtp_sink.url)], email_id)
    assert len(smtp_sink.mails) == 1


async def test_send_when_the_mailbox_does_not_exist(db: SystemSession, database: Database, smtp_sink: Sink):
    email_id = await queued(db)
    smtp_sink.rcpt_reply = "550 5.1.1 no such mailbox"
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    assert (await row(db, email_id)).status == "failed"
    assert (await db.scalars(select(EmailSuppression.reason))).all() == ["hard_bounce"]
    smtp_sink.rcpt_reply = None
    later = await queued(db)
    await send(database, [SmtpSender(smtp_sink.url)], later)
    assert (await row(db, later)).status == "suppressed"
    assert smtp_sink.mails == []


async def test_send_when_nobody_knows_whether_it_was_taken(
    db: SystemSession, database: Database, smtp_sink: Sink
):
    email_id = await queued(db)
    smtp_sink.closes_after_data = True
    await send(database, [SmtpSender(smtp_sink.url), SmtpSender(smtp_sink.url)], email_id)
    assert len(smtp_sink.mails) == 1, "no other sender may try"
    email = await row(db, email_id)
    assert (email.status, email.last_error_code) == ("queued", "unknown_outcome")
    smtp_sink.closes_after_data = False
    with clock.travel(timedelta(minutes=2, seconds=1)):
        await send(database, [SmtpSender(smtp_sink.url)], email_id)
    assert len({mail["Message-ID"] for mail in smtp_sink.mails}) == 1


async def test_send_when_the_link_inside_has_expired(db: SystemSession, database: Database, smtp_sink: Sink):
    email_id = await queued(db, expires_at=clock.now() - timedelta(minutes=1))
    await send(database, [SmtpSender(smtp_sink.url)], email_id)
    assert (await row(db, email_id)).status == "expired"
    assert smtp_sink.mails == []


async def test_send_when_no_sender_is_configured(db: SystemSession, database: Database):
    email_id = await queued(db)
    await send(database, [], email_id)
    assert (await row(db, email_id)).status == "queued"


@pytest.mark.commits
async def test_send_when_two_workers_have_the_same_mail(
    db: SystemSession, database: Database, smtp_sink: Sink
):
    email_id = await queued(db)
    sender = SmtpSender(smtp_sink.url)
    await asyncio.gather(*(send(database, [sender], email_id) for _ in range(8)))
    assert len(smtp_sink.mails) == 1


async def test_sweep_when_a_worker_died_while_sending(db: SystemSession, database: Database):
    email_id = await queued(db)
    email = await row(db, email_id)
    email.status, email.lease_until = "sending", clock.now() + timedelta(seconds=120)
    await db.commit()
    await sweep_mails(database)
    await handle_events(database)
    assert (await row(db, email_id)).status == "sending"
    with clock.travel(timedelta(seconds=130)):
        await sweep_mails(database)
        await handle_events(database)
    assert (await row(db, email_id)).status == "sent"
    assert len((await db.scalars(select(MailOutbox.id))).all()) == 1


async def test_page_when_an_older_client_tests_its_mail_provider(client: AsyncClient, alice: Persona) -> None:
    answer = await client.post("/api/test-brevo", headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_prune_when_a_mail_is_a_month_old(db: SystemSession, database: Database):
    old, new = await queued(db), await queued(db)
    (await row(db, old)).created_at = clock.now() - timedelta(days=31)
    await db.commit()
    await prune_mails(database)
    assert (await db.scalars(select(Email.id))).all() == [new]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_template_when_every_variable_is_hostile(template: str, locale: str):
    hostile = dict.fromkeys(VARIABLES[template], "<i>{{ 7 * 7 }}</i>")
    mail = render(template, locale, hostile)
    assert "<i>" not in mail.html
    assert "49" not in mail.text
    assert mail.subject
    assert mail.text.strip()


def test_template_when_a_variable_is_missing():
    with pytest.raises(TemplateError, match="name"):
        render("welcome", "en", {"app_url": "x"})


def test_template_when_the_language_is_unknown():
    assert render("welcome", "de", {"name": "", "app_url": "x"}).subject == "Welcome to Luneo"
