"""The SMTP sender against a real server on loopback."""

import pytest

from app.clients.mailer import MailOutcomeUnknown, MailRefused, OutgoingMail
from app.clients.mailer.smtp import SmtpSender
from tests.support.smtp_sink import Sink

MAIL = OutgoingMail(
    message_id="0197@luneo.test",
    to_address="zoé@luneo.test".replace("é", "e"),
    from_address="Luneo <no-reply@luneo.test>",
    subject="Où êtes-vous ?",
    text="Bonjour Zoé,\n\nvoilà.\n",
    html="<p>Bonjour <b>Zoé</b></p>",
    template="welcome",
    locale="fr",
)


async def test_send_when_the_server_takes_it(smtp_sink: Sink):
    await SmtpSender(smtp_sink.url).send(MAIL)
    (mail,) = smtp_sink.mails
    assert smtp_sink.recipients == ["zoe@luneo.test"]
    assert mail["Subject"] == "Où êtes-vous ?"
    assert mail["Message-ID"] == "<0197@luneo.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().split() == MAIL.text.split()
    assert "<b>Zoé</b>" in html.get_content()


@pytest.mark.parametrize(
    ("reply", "code", "is_permanent", "is_dead"),
    [
        ("451 4.7.1 later", "refused", False, False),
        ("554 5.7.1 no", "refused", True, False),
        ("550 5.1.1 no such mailbox", "bad_address", True, True),
    ],
)
async def test_send_when_the_recipient_is_refused(
    smtp_sink: Sink, reply: str, code: str, is_permanent: bool, is_dead: bool
):
    smtp_sink.rcpt_reply = reply
    with pytest.raises(MailRefused) as refusal:
        await SmtpSender(smtp_sink.url).send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent, refusal.value.is_dead_address) == (
        code,
        is_permanent,
        is_dead,
    )
    assert smtp_sink.mails == []


async def test_send_when_the_server_refuses_the_content(smtp_sink: Sink):
    smtp_sink.data_reply = "552 5.3.4 too big"
    with pytest.raises(MailRefused) as refusal:
        await SmtpSender(smtp_sink.url).send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent) == ("too_large", True)


async def test_send_when_the_connection_breaks_after_the_content(smtp_sink: Sink):
    smtp_sink.closes_after_data = True
    with pytest.raises(MailOutcomeUnknown):
        await SmtpSender(smtp_sink.url).send(MAIL)
    assert len(smtp_sink.mails) == 1


async def test_send_when_nobody_listens():
    with pytest.raises(MailRefused) as refusal:
        await SmtpSender("smtp://127.0.0.1:9").send(MAIL)
    assert not refusal.value.is_permanent


async def test_send_when_the_subject_would_smuggle_a_header(smtp_sink: Sink):
    smuggled = OutgoingMail(
        **{name: getattr(MAIL, name) for name in MAIL.__slots__ if name != "subject"},
        subject="a\r\nBcc: x@y.z",
    )
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        await SmtpSender(smtp_sink.url).send(smuggled)
    assert smtp_sink.mails == []


@pytest.mark.parametrize("url", ["http://x", "smtp://", "mail.example"])
def test_sender_when_the_address_is_no_smtp_url(url: str):
    with pytest.raises(ValueError, match="SMTP_URL"):
        SmtpSender(url)
