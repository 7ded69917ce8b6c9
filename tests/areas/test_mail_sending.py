"""Which sender gets a mail, and what becomes of one that is refused, limited, blocked or lost on the way."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app.clients.mailer import MailRefused, MailSender, OutgoingMail
from app.clients.mailer.brevo import BrevoSender
from app.clients.mailer.smtp import SmtpSender
from app.clients.outbound import get_outbound
from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.jobs.notifications import sweep_mails, wipe_mails
from app.models.notifications import EmailSuppression, NotificationDelivery
from app.models.realtime import EventLog
from app.models.team import Organization
from app.services.auth.events import EmailConfirmed
from app.services.notifications.senders import SenderBoard, configured, senders_of
from app.services.notifications.sending import send
from tests.factories.mail import email_of, make_email, make_suppression
from tests.support.events import handle_events
from tests.support.mail_providers import KEY, PlayedBrevo, PlayedSendGrid
from tests.support.personas import Persona
from tests.support.smtp_sink import Sink

ALL = {
    "smtp_url": "smtp://127.0.0.1:25",
    "brevo_api_key": "xkeysib-1",
    "sendgrid_api_key": "SG.1",
}


def test_senders_when_they_are_configured() -> None:
    settings = get_settings().model_copy(update=ALL)
    assert configured(settings) == ["smtp", "brevo", "sendgrid"]
    turned = settings.model_copy(update={"mail_providers": ["sendgrid", "smtp"]})
    assert configured(turned) == ["sendgrid", "smtp"]
    assert configured(get_settings()) == []


def test_senders_when_the_settings_name_them(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [sender.name for sender in senders_of(database)] == ["local"]
    for name, value in ALL.items():
        monkeypatch.setattr(get_settings(), name, value)
    monkeypatch.setattr(get_settings(), "mail_providers", ["sendgrid", "brevo", "smtp"])
    assert [sender.name for sender in senders_of(database)] == ["sendgrid", "brevo", "smtp"]


async def test_failover_when_senders_refuse_for_now(
    db: SystemSession, database: Database, smtp_sink: Sink, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    email_id = await make_email(db)
    smtp_sink.rcpt_reply = "451 4.7.1 later"
    brevo.status = 503
    senders: list[MailSender] = [SmtpSender(smtp_sink.url), brevo.sender, sendgrid.sender]
    await send(database, senders, email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.provider, email.provider_message_id) == ("sent", "sendgrid", "sg-1")
    assert (email.attempts, len(smtp_sink.mails), brevo.calls, len(sendgrid.mails)) == (1, 0, 1, 1)


class Slow:
    """A sender that takes a minute and a half to refuse for now, and tells how long the lease lasts then."""

    def __init__(self, name: str, db: SystemSession, email_id: UUID, gone: ExitStack) -> None:
        self.name = name
        self.left: timedelta | None = None
        self._db, self._email_id, self._gone = db, email_id, gone

    async def send(self, mail: OutgoingMail) -> str | None:
        del mail
        lease_until = (await email_of(self._db, self._email_id)).lease_until
        assert lease_until is not None
        self.left = lease_until - clock.now()
        self._gone.enter_context(clock.travel(timedelta(seconds=90)))
        raise MailRefused("timeout")


async def test_lease_when_senders_are_slow(db: SystemSession, database: Database) -> None:
    """Each has as much time as the first, so that no other worker takes the mail meanwhile."""
    email_id = await make_email(db)
    with ExitStack() as gone:
        senders = [Slow(name, db, email_id, gone) for name in ("brevo", "sendgrid")]
        await send(database, senders, email_id, board=SenderBoard())
    assert [sender.left and sender.left > timedelta(seconds=110) for sender in senders] == [True, True]


async def test_failover_when_a_refusal_is_for_good(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    email_id = await make_email(db)
    brevo.status = 400
    await send(database, [brevo.sender, sendgrid.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.last_error_code, sendgrid.calls) == ("failed", "refused", 0)
    assert (await db.scalars(select(EmailSuppression.id))).all() == []


@pytest.mark.parametrize("provider", ["brevo", "sendgrid"])
async def test_mailbox_when_a_provider_knows_none(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid, provider: str
) -> None:
    senders: dict[str, MailSender] = {"brevo": brevo.sender, "sendgrid": sendgrid.sender}
    sender = senders[provider]
    for _ in range(2):
        email_id = await make_email(db, to="nobody@unknown.luneo.test")
        await send(database, [sender], email_id, board=SenderBoard())
    assert (await email_of(db, email_id)).status == "suppressed"
    assert brevo.calls + sendgrid.calls == 1
    (row,) = (await db.scalars(select(EmailSuppression))).all()
    assert (row.reason, row.provider) == ("hard_bounce", provider)


async def test_brevo_when_it_falls_silent_after_taking_a_mail(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    email_id = await make_email(db)
    brevo.is_mute = True
    impatient = BrevoSender(KEY, get_outbound(), address=brevo.address, seconds=0.2)
    await send(database, [impatient, sendgrid.sender], email_id, board=SenderBoard())
    waiting = await email_of(db, email_id)
    assert (waiting.status, waiting.provider, waiting.last_error_code) == (
        "queued",
        "brevo",
        "unknown_outcome",
    )
    brevo.is_mute = False
    with clock.travel(timedelta(minutes=2, seconds=1)):
        # However the senders are ordered by then, only the one that may have taken it is asked.
        await send(database, [sendgrid.sender, impatient], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.provider, email.attempts) == ("sent", "brevo", 2)
    assert (len(brevo.mails), brevo.calls, sendgrid.calls) == (1, 2, 0)


async def test_unknown_outcome_when_the_sender_refuses_the_next_try(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    """That it refuses now says nothing about the try before, so nobody else may have the mail."""
    email_id = await make_email(db)
    sendgrid.hangs_up = True
    await send(database, [sendgrid.sender, brevo.sender], email_id, board=SenderBoard())
    sendgrid.hangs_up, sendgrid.status = False, 503
    with clock.travel(timedelta(minutes=3)):
        await send(database, [sendgrid.sender, brevo.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.provider, email.last_error_code) == ("queued", "sendgrid", "refused")
    with clock.travel(timedelta(minutes=10)):
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    assert brevo.calls == 0, "its sender is not configured any more: the mail waits for it"


async def test_retry_when_a_provider_says_when(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    email_id = await make_email(db)
    brevo.status, brevo.headers = 429, {"Retry-After": "600"}
    sendgrid.status, sendgrid.headers = 429, {"Retry-After": "300"}
    await send(database, [brevo.sender, sendgrid.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.provider, email.last_error_code) == ("queued", None, "quota")
    assert email.next_attempt_at is not None
    assert timedelta(seconds=290) < email.next_attempt_at - clock.now() <= timedelta(seconds=300)


async def test_retries_when_everybody_goes_on_refusing(
    db: SystemSession, database: Database, brevo: PlayedBrevo
) -> None:
    email_id = await make_email(db, expires_at=clock.now() + timedelta(hours=24))
    brevo.status = 503
    waits: list[int] = []
    gone = timedelta()
    for _ in range(6):
        with clock.travel(gone):
            await send(database, [brevo.sender], email_id, board=SenderBoard())
            due = (await email_of(db, email_id)).next_attempt_at
            assert due is not None
            waits.append(round((due - clock.now()).total_seconds()))
        gone += timedelta(seconds=waits[-1] + 1)
    assert waits == [30, 120, 600, 1800, 3600, 3600]


async def test_sender_when_it_refuses_five_times_in_a_row(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    board = SenderBoard()
    senders: list[MailSender] = [brevo.sender, sendgrid.sender]
    brevo.status = 503
    for _ in range(6):
        await send(database, senders, await make_email(db), board=board)
    assert (brevo.calls, len(sendgrid.mails)) == (5, 6)
    brevo.status = None
    with clock.travel(timedelta(seconds=61)):
        await send(database, senders, await make_email(db), board=board)
    assert len(brevo.mails) == 1


def test_senders_when_all_are_left_alone(brevo: PlayedBrevo, sendgrid: PlayedSendGrid) -> None:
    board = SenderBoard()
    senders: list[MailSender] = [brevo.sender, sendgrid.sender]
    for sender in senders:
        board.refused(sender.name, MailRefused("credentials"))
    assert [sender.name for sender in board.in_turn(senders)] == ["brevo"]


async def test_sender_when_its_key_is_wrong(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    board = SenderBoard()
    wrong = BrevoSender("another", get_outbound(), address=brevo.address)
    for _ in range(2):
        await send(database, [wrong, sendgrid.sender], await make_email(db), board=board)
    assert (brevo.calls, len(sendgrid.mails)) == (1, 2)
    await handle_events(database)
    alerts = select(EventLog.body).where(EventLog.type == "email.credentials_rejected")
    assert ['"brevo"' in body for body in await db.scalars(alerts)] == [True]
    with clock.travel(timedelta(minutes=10, seconds=1)):
        assert [sender.name for sender in board.in_turn([wrong, sendgrid.sender])] == ["brevo", "sendgrid"]


async def test_limit_when_a_recipient_has_had_enough(
    db: SystemSession, database: Database, brevo: PlayedBrevo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_mail_recipient", "2/1h")
    others = [await make_email(db, category="team") for _ in range(3)]
    apart = await make_email(db, category="security")
    elsewhere = await make_email(db, to="noe@luneo.test", category="team")
    for email_id in [*others, apart, elsewhere]:
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    found = [(await email_of(db, email_id)).status for email_id in [*others, apart, elsewhere]]
    assert found == ["sent", "sent", "queued", "sent", "sent"]
    waiting = await email_of(db, others[2])
    assert waiting.attempts == 0
    assert waiting.next_attempt_at is not None
    assert timedelta(minutes=59) < waiting.next_attempt_at - clock.now() <= timedelta(hours=1)


async def test_limit_when_an_organization_has_sent_enough(
    db: SystemSession, database: Database, alice: Persona, brevo: PlayedBrevo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_mail_org", "1/1h")
    emails = [
        await make_email(db, to=f"{number}@luneo.test", organization_id=alice.organization_id)
        for number in range(2)
    ]
    for email_id in emails:
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    assert [(await email_of(db, email_id)).status for email_id in emails] == ["sent", "queued"]
    with clock.travel(timedelta(minutes=59)):
        await send(database, [brevo.sender], emails[1], board=SenderBoard())
        assert len(brevo.mails) == 1


@pytest.mark.commits
async def test_limit_when_mails_of_one_recipient_are_sent_at_once(
    db: SystemSession, database: Database, brevo: PlayedBrevo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_mail_recipient", "3/1h")
    emails = [await make_email(db) for _ in range(8)]
    await asyncio.gather(*(send(database, [brevo.sender], email_id) for email_id in emails))
    assert len(brevo.mails) == 3


@pytest.mark.parametrize("name", ["Maison Zoé", 'Chez "Zoé" \\ Fils, <b>', "a\r\nBcc: x@y.example"])
async def test_sender_when_a_mail_goes_to_a_buyer(
    db: SystemSession,
    database: Database,
    alice: Persona,
    brevo: PlayedBrevo,
    smtp_sink: Sink,
    name: str,
) -> None:
    (await db.get_one(Organization, alice.organization_id)).name = name
    await db.commit()
    senders: list[MailSender] = [brevo.sender, SmtpSender(smtp_sink.url)]
    for sender in senders:
        for category in ("order_customer", "team"):
            email_id = await make_email(db, category=category, organization_id=alice.organization_id)
            await send(database, [sender], email_id, board=SenderBoard())
    shown = name.replace("\r\n", "  ")
    ours = {"email": "no-reply@luneo.test", "name": "Luneo"}
    assert [mail["sender"] for mail in brevo.mails] == [{**ours, "name": shown}, ours]
    found = [mail["From"].addresses[0] for mail in smtp_sink.mails]
    assert {address.addr_spec for address in found} == {ours["email"]}
    assert [" ".join(address.display_name.split()) for address in found] == [" ".join(shown.split()), "Luneo"]
    assert all(mail["Bcc"] is None for mail in smtp_sink.mails)


@pytest.mark.parametrize(
    ("reason", "category", "status"),
    [
        ("complaint", "security", "sent"),
        ("complaint", "account", "sent"),
        ("complaint", "team", "suppressed"),
        ("hard_bounce", "security", "suppressed"),
        ("manual", "account", "suppressed"),
    ],
)
async def test_mail_when_the_address_is_blocked(
    db: SystemSession, database: Database, brevo: PlayedBrevo, reason: str, category: str, status: str
) -> None:
    await make_suppression(db, "zoe@luneo.test", reason)
    email_id = await make_email(db, category=category)
    await send(database, [brevo.sender], email_id, board=SenderBoard())
    assert (await email_of(db, email_id)).status == status


@pytest.mark.parametrize(("reason", "left"), [("hard_bounce", 0), ("complaint", 1), ("manual", 1)])
async def test_block_when_the_address_is_confirmed_anew(
    db: SystemSession, database: Database, alice: Persona, reason: str, left: int
) -> None:
    await make_suppression(db, alice.email, reason)
    async with database.transaction() as session:
        await emit(session, EmailConfirmed(user_id=alice.user_id))
    await handle_events(database)
    assert len((await db.scalars(select(EmailSuppression.id))).all()) == left


async def test_mail_when_it_ends_is_told_in_the_history_and_as_an_event(
    db: SystemSession, database: Database, alice: Persona, brevo: PlayedBrevo
) -> None:
    sent = await make_email(db, to=alice.email, user_id=alice.user_id)
    lost = await make_email(db, to=alice.email, user_id=alice.user_id, expires_at=clock.now())
    for email_id in (sent, lost):
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    rows = {row.email_id: row for row in await db.scalars(select(NotificationDelivery))}
    assert (rows[sent].state, rows[sent].provider, rows[sent].reason) == ("sent", "brevo", None)
    assert (rows[lost].state, rows[lost].reason) == ("failed", "expired")
    await handle_events(database)
    types = await db.scalars(select(EventLog.type).where(EventLog.type.startswith("email.")))
    assert sorted(types) == ["email.failed", "email.sent"]


async def test_mail_when_no_sender_is_configured_and_its_time_is_over(
    db: SystemSession, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "environment", "production")
    email_id = await make_email(db)
    await sweep_mails(database)
    await handle_events(database)
    assert (await email_of(db, email_id)).status == "queued"
    with clock.travel(timedelta(hours=1, seconds=1)):
        await sweep_mails(database)
        await handle_events(database)
    assert (await email_of(db, email_id)).status == "expired"


async def test_contents_when_a_mail_ended_an_hour_ago(
    db: SystemSession, database: Database, brevo: PlayedBrevo
) -> None:
    sent, waiting = await make_email(db), await make_email(db)
    await send(database, [brevo.sender], sent, board=SenderBoard())
    await wipe_mails(database)
    assert (await email_of(db, sent)).variables_sealed is not None
    with clock.travel(timedelta(minutes=61)):
        await wipe_mails(database)
    assert (await email_of(db, sent)).variables_sealed is None
    assert (await email_of(db, waiting)).variables_sealed is not None


async def test_mail_when_its_key_has_left_the_ring(
    db: SystemSession, database: Database, brevo: PlayedBrevo, other_keys: Callable[[bool], None]
) -> None:
    """It waits for the key to come back, and is not asked for every ten seconds."""
    email_id = await make_email(db)
    other_keys(False)
    await send(database, [brevo.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.attempts, brevo.calls) == ("queued", 0, 0)
    assert email.next_attempt_at is not None
    assert email.next_attempt_at > clock.now() + timedelta(minutes=59)


async def test_mail_when_it_cannot_be_rendered(
    db: SystemSession, database: Database, brevo: PlayedBrevo
) -> None:
    email_id = await make_email(db, variables={})
    await send(database, [brevo.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.last_error_code, brevo.calls) == ("failed", "refused", 0)
