"""The SendGrid sender against a server on loopback that plays SendGrid."""

import pytest

from app.clients.mailer import MailOutcomeUnknown, MailRefused
from app.clients.mailer.sendgrid import SendGridSender
from app.clients.outbound import get_outbound
from app.core import clock
from tests.clients.mails import MAIL, SMUGGLED, UNKNOWN_MAILBOX
from tests.support.mail_providers import PlayedSendGrid


async def test_send_when_sendgrid_takes_it(sendgrid: PlayedSendGrid) -> None:
    assert await sendgrid.sender.send(MAIL) == "sg-1"
    (mail,) = sendgrid.mails
    assert mail["from"] == {"email": "no-reply@luneo.test", "name": "Luneo"}
    assert mail["personalizations"] == [{"to": [{"email": "zoe@luneo.test"}]}]
    assert [part["value"] for part in mail["content"]] == [MAIL.text, MAIL.html]
    assert mail["headers"]["Message-ID"] == f"<{MAIL.message_id}>"
    assert mail["headers"]["List-Unsubscribe"] == "<https://api.luneo.test/u/1>"
    assert not any(kind["enable"] for kind in mail["tracking_settings"].values())


async def test_send_when_sendgrid_breaks_the_connection_after_taking_it(sendgrid: PlayedSendGrid) -> None:
    sendgrid.hangs_up = True
    with pytest.raises(MailOutcomeUnknown):
        await sendgrid.sender.send(MAIL)


@pytest.mark.parametrize(
    ("status", "code", "is_permanent"),
    [(400, "refused", True), (413, "too_large", True), (429, "quota", False), (500, "refused", False)],
)
async def test_send_when_sendgrid_refuses(
    sendgrid: PlayedSendGrid, status: int, code: str, is_permanent: bool
) -> None:
    sendgrid.status = status
    with pytest.raises(MailRefused) as refusal:
        await sendgrid.sender.send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent) == (code, is_permanent)
    assert refusal.value.retry_after is None


async def test_send_when_sendgrid_says_when_its_limit_is_free_again(sendgrid: PlayedSendGrid) -> None:
    sendgrid.status = 429
    sendgrid.headers = {"X-RateLimit-Reset": str(round(clock.now().timestamp()) + 300)}
    with pytest.raises(MailRefused) as refusal:
        await sendgrid.sender.send(MAIL)
    assert refusal.value.retry_after is not None
    assert 290 <= refusal.value.retry_after <= 300


async def test_send_when_sendgrid_knows_no_such_mailbox(sendgrid: PlayedSendGrid) -> None:
    with pytest.raises(MailRefused) as refusal:
        await sendgrid.sender.send(UNKNOWN_MAILBOX)
    assert (refusal.value.code, refusal.value.is_dead_address) == ("bad_address", True)


async def test_send_when_the_key_is_wrong(sendgrid: PlayedSendGrid) -> None:
    with pytest.raises(MailRefused) as refusal:
        await SendGridSender("another", get_outbound(), address=sendgrid.address).send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent) == ("credentials", False)


async def test_send_when_the_subject_would_smuggle_a_header(sendgrid: PlayedSendGrid) -> None:
    with pytest.raises(ValueError, match="line break"):
        await sendgrid.sender.send(SMUGGLED)
    assert sendgrid.calls == 0
