"""The Brevo sender against a server on loopback that plays Brevo."""

import pytest

from app.clients.mailer import MailOutcomeUnknown, MailRefused
from app.clients.mailer.brevo import BrevoSender
from app.clients.outbound import get_outbound
from tests.clients.mails import MAIL, SMUGGLED, UNKNOWN_MAILBOX
from tests.support.mail_providers import KEY, PlayedBrevo


async def test_send_when_brevo_takes_it(brevo: PlayedBrevo) -> None:
    assert await brevo.sender.send(MAIL) == "<1@smtp-relay.mailin.fr>"
    (mail,) = brevo.mails
    assert mail["sender"] == {"email": "no-reply@luneo.test", "name": "Luneo"}
    assert mail["to"] == [{"email": "zoe@luneo.test"}]
    assert (mail["subject"], mail["htmlContent"], mail["textContent"]) == (MAIL.subject, MAIL.html, MAIL.text)
    headers = mail["headers"]
    assert headers["Message-ID"] == f"<{MAIL.message_id}>"
    assert headers["idempotencyKey"] == MAIL.message_id.partition("@")[0]
    assert headers["List-Unsubscribe"] == "<https://api.luneo.test/u/1>"
    assert headers["X-Mailin-Track"] == "0"


async def test_send_when_brevo_has_taken_it_before(brevo: PlayedBrevo) -> None:
    brevo.hangs_up = True
    with pytest.raises(MailOutcomeUnknown):
        await brevo.sender.send(MAIL)
    brevo.hangs_up = False
    assert await brevo.sender.send(MAIL) is None
    assert len(brevo.mails) == 1


async def test_send_when_brevo_falls_silent_after_taking_it(brevo: PlayedBrevo) -> None:
    brevo.is_mute = True
    with pytest.raises(MailOutcomeUnknown):
        await BrevoSender(KEY, get_outbound(), address=brevo.address, seconds=0.2).send(MAIL)
    assert len(brevo.mails) == 1


@pytest.mark.parametrize(
    ("status", "headers", "code", "is_permanent", "retry_after"),
    [
        (400, {}, "refused", True, None),
        (402, {}, "quota", False, None),
        (408, {}, "refused", False, None),
        (413, {}, "too_large", True, None),
        (429, {}, "quota", False, None),
        (429, {"Retry-After": "40"}, "quota", False, 40),
        (429, {"Retry-After": "4", "x-sib-ratelimit-reset": "90"}, "quota", False, 90),
        (429, {"x-sib-ratelimit-reset": "99999999999"}, "quota", False, 86_400),
        (429, {"x-sib-ratelimit-reset": "soon"}, "quota", False, None),
        (503, {}, "refused", False, None),
    ],
)
async def test_send_when_brevo_refuses(
    brevo: PlayedBrevo,
    status: int,
    headers: dict[str, str],
    code: str,
    is_permanent: bool,
    retry_after: int | None,
) -> None:
    brevo.status, brevo.headers = status, headers
    with pytest.raises(MailRefused) as refusal:
        await brevo.sender.send(MAIL)
    found = refusal.value
    assert (found.code, found.is_permanent, found.retry_after) == (code, is_permanent, retry_after)
    assert not found.is_dead_address


async def test_send_when_brevo_knows_no_such_mailbox(brevo: PlayedBrevo) -> None:
    with pytest.raises(MailRefused) as refusal:
        await brevo.sender.send(UNKNOWN_MAILBOX)
    assert (refusal.value.code, refusal.value.is_dead_address) == ("bad_address", True)


async def test_send_when_the_key_is_wrong(brevo: PlayedBrevo) -> None:
    with pytest.raises(MailRefused) as refusal:
        await BrevoSender("another", get_outbound(), address=brevo.address).send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent) == ("credentials", False)


async def test_send_when_nobody_listens() -> None:
    with pytest.raises(MailRefused) as refusal:
        await BrevoSender(KEY, get_outbound(), address="http://127.0.0.1:9").send(MAIL)
    assert (refusal.value.code, refusal.value.is_permanent) == ("refused", False)


async def test_send_when_the_subject_would_smuggle_a_header(brevo: PlayedBrevo) -> None:
    with pytest.raises(ValueError, match="line break"):
        await brevo.sender.send(SMUGGLED)
    assert brevo.calls == 0
