"""The list of leaked passwords: what it is told, and what is made of its answers."""

import hashlib

import pytest
from structlog.testing import capture_logs

from app.clients import breaches
from app.clients.breaches import is_leaked
from tests.support.outbound import outbound
from tests.support.receivers import Behaviour, receiving, reply

PASSWORD = "blue lantern over water"
DIGEST = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).hexdigest().upper()
OTHERS = f"{'0' * 35}:3\r\n{'F' * 35}:12"


async def ask(monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, password: str = PASSWORD) -> bool:
    """What is made of an answer; the list is told the first five digits and nothing else."""
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    async with receiving({f"/range/{digest[:5]}": behaviour}) as receiver:
        monkeypatch.setattr(breaches, "ADDRESS", receiver.url("/range/", host="127.0.0.1"))
        found = await is_leaked(outbound(receiver.port), password)
    (head, body), *more = receiver.requests
    assert not more
    assert body == b""
    assert "add-padding: true" in head.lower()
    assert DIGEST[5:] not in head.upper()
    return found


@pytest.mark.parametrize(
    ("lines", "is_known"),
    [
        (f"{OTHERS}\r\n{DIGEST[5:]}:41\r\n", True),
        (f"{DIGEST[5:].lower()}:1", True),
        (OTHERS, False),
        # What pads an answer was never seen.
        (f"{OTHERS}\r\n{DIGEST[5:]}:0\r\n", False),
        ("", False),
        ("\u00e9 no list at all", False),
    ],
    ids=["there", "in small letters", "not there", "padding", "empty", "nonsense"],
)
async def test_password_when_the_list_answers(
    monkeypatch: pytest.MonkeyPatch, lines: str, is_known: bool
) -> None:
    assert await ask(monkeypatch, reply(200, lines.encode())) is is_known


@pytest.mark.parametrize(
    "behaviour",
    [reply(503, b""), reply(301, b"", location="https://example.test/"), reply(200, b"x" * 300_000)],
    ids=["down", "redirect", "too much"],
)
async def test_password_when_the_list_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    with capture_logs() as logged:
        assert await ask(monkeypatch, behaviour) is False
    assert [line["event"] for line in logged] == ["password_list_unavailable"]
    assert PASSWORD not in str(logged)


async def test_password_when_the_list_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaches, "ADDRESS", "http://127.0.0.1:1/range/")
    with capture_logs() as logged:
        assert await is_leaked(outbound(1), PASSWORD) is False
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("password_list_unavailable", "connect_refused")
    ]
