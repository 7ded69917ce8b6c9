"""The outbound client against servers that behave and servers that do not, on real sockets."""

import asyncio
import gzip
import socket
import threading
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from app.clients.outbound import (
    NETWORK_CODES,
    OutboundAnswer,
    OutboundFailure,
    code_of,
    get_outbound,
    hint_for,
    names,
)
from app.clients.outbound.addresses import AddressRules
from app.clients.outbound.answers import retry_after
from app.clients.outbound.failures import HINTS
from app.clients.outbound.opening import announce_opened_networks
from app.core import clock
from app.core.config import Settings
from tests.support import receivers
from tests.support.outbound import Names, outbound
from tests.support.receivers import Behaviour, Receiver, receiving, reply, reset_after, say


async def failing(receiver: Receiver, timeout_seconds: float = 5.0, **given: Any) -> OutboundFailure:
    """The failure of one request to the receiver; nothing stays open afterwards."""
    with pytest.raises(OutboundFailure) as failure:
        await outbound(receiver.port, **given).send("POST", receiver.url(), timeout_seconds=timeout_seconds)
    await receiver.all_closed()
    return failure.value


async def test_request_when_it_goes_out() -> None:
    names_asked = Names()
    async with receiving({"/hook": reply(201, b'{"ok":true}', Content_Type="application/json")}) as receiver:
        client = outbound(receiver.port, resolve=names_asked)
        answer = await client.send(
            "POST",
            receiver.url("/hook?a=%C3%A9", host="Hooks.Example.test"),
            headers={"Content-Type": "application/json", "Host": "evil.test", "Accept-Encoding": "gzip"},
            content=b'{"n":1}',
        )
        await receiver.all_closed()
    head, body = receiver.requests[0]
    assert head.split("\r\n")[0] == "POST /hook?a=%C3%A9 HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert sent == {
        "host": f"hooks.example.test:{receiver.port}",
        "user-agent": "Luneo/1",
        "accept": "*/*",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": "7",
    }
    assert body == b'{"n":1}'
    assert (answer.status, answer.body, answer.is_truncated, answer.remote_ip) == (
        201,
        b'{"ok":true}',
        False,
        "127.0.0.1",
    )
    assert answer.headers["content-type"] == "application/json"
    assert 0 <= answer.duration_ms < 60_000
    assert code_of(answer) is None
    assert names_asked.asked == ["hooks.example.test"]


async def test_connections_when_several_requests_go_out() -> None:
    async with receiving(reply(Set_Cookie="a=1; Path=/", Connection="keep-alive")) as receiver:
        client = outbound(receiver.port)
        for _ in range(3):
            await client.send("GET", receiver.url(), headers={"Cookie": "b=2"})
        await receiver.all_closed()
    assert receiver.accepted_count == 3
    assert not any("cookie" in head.lower() for head, _ in receiver.requests)
    assert not any("content-length" in head.lower() for head, _ in receiver.requests)


@pytest.mark.parametrize("name", ["x-bad name", "x-bad\r\nx-more", "x-é", ""])
async def test_header_when_it_is_none(name: str) -> None:
    async with receiving(reply()) as receiver:
        with pytest.raises(ValueError, match="none that HTTP"):
            await outbound(receiver.port).send("GET", receiver.url(), headers={name: "x"})
        with pytest.raises(ValueError, match="none that HTTP"):
            await outbound(receiver.port).send("GET", receiver.url(), headers={"x-fine": "a\r\nb: c"})
        await receiver.all_closed()
        assert receiver.requests == []


async def test_proxies_when_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(reply()) as receiver, receiving(reply(500)) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        answer = await outbound(receiver.port).send("GET", receiver.url())
    assert answer.status == 200
    assert proxy.accepted_count == 0


async def test_name_when_it_is_rebound_between_check_and_dial() -> None:
    rebinding = Names(["127.0.0.1"], ["127.0.0.2"])
    async with receiving(reply()) as receiver:
        client = outbound(receiver.port, resolve=rebinding)
        answer = await client.send("GET", receiver.url())
        assert answer.remote_ip == "127.0.0.1", "what was checked is what is dialled"
        assert len(rebinding.asked) == 1, "a name is looked up once for each request"
        with pytest.raises(OutboundFailure) as failure:
            await client.send("GET", receiver.url())
    assert failure.value.code == "blocked_address"
    assert receiver.accepted_count == 1


@pytest.mark.parametrize("denied", ["10.0.0.1", "169.254.169.254", "::1", "127.0.0.2"])
async def test_name_when_one_of_its_addresses_is_denied(denied: str) -> None:
    for mixed in (["127.0.0.1", denied], [denied, "127.0.0.1"], ["127.0.0.1"] * 9 + [denied]):
        async with receiving(reply()) as receiver:
            failure = await failing(receiver, resolve=Names(mixed))
        assert failure.code == "blocked_address"
        assert receiver.accepted_count == 0


async def test_name_when_its_first_addresses_are_dead() -> None:
    opened = AddressRules(opened=(ip_network("127.0.0.0/8"),))
    async with receiving(reply()) as receiver:
        client = outbound(receiver.port, opened, resolve=Names(["127.0.0.9", "127.0.0.8", "127.0.0.1"]))
        answer = await client.send("GET", receiver.url())
    assert answer.remote_ip == "127.0.0.1"


async def test_saved_url_when_rules_have_become_stricter() -> None:
    async with receiving(reply()) as receiver:
        client = outbound(receiver.port)
        for url in (receiver.url(host="127.0.0.2"), receiver.url(host="localhost"), "https://a.example:444/"):
            with pytest.raises(OutboundFailure) as failure:
                await client.send("GET", url)
            assert failure.value.code == "blocked_address"
    assert receiver.accepted_count == 0


async def test_fixed_address_when_it_is_on_this_machine() -> None:
    async with receiving({"/token": reply(body=b"x" * 100_000)}) as receiver:
        client = outbound(443, AddressRules())
        url = f"http://localhost:{receiver.port}/token"
        answer = await client.send("POST", url, is_fixed=True)
        assert (len(answer.body), answer.is_truncated) == (16_384, True), "bounds hold for all"
        with pytest.raises(OutboundFailure) as failure:
            await client.send("POST", url)
    assert failure.value.code == "blocked_address"


async def test_redirect_when_it_leads_to_metadata() -> None:
    async with receiving(receivers.to_metadata) as receiver:
        answer = await outbound(receiver.port).send("POST", receiver.url())
    assert (answer.status, code_of(answer)) == (302, "redirect")
    assert answer.redirect_target == "http://169.254.169.254/latest/meta-data/"
    assert receiver.accepted_count == 1
    assert hint_for("redirect", answer) == (
        "302 to http://169.254.169.254/latest/meta-data/; store that address."
    )


async def test_body_when_it_has_no_end() -> None:
    async with receiving(receivers.endless_body) as receiver:
        for most in (0, 1, 16_384, 100_000):
            answer = await outbound(receiver.port).send("GET", receiver.url(), max_body=most)
            assert (answer.status, len(answer.body), answer.is_truncated) == (200, most, True)
        await receiver.all_closed()


async def test_body_when_it_is_just_as_long_as_it_may_be() -> None:
    async with receiving(reply(body=b"x" * 500)) as receiver:
        for most, is_truncated in ((499, True), (500, False), (501, False)):
            answer = await outbound(receiver.port).send("GET", receiver.url(), max_body=most)
            assert (len(answer.body), answer.is_truncated) == (min(most, 500), is_truncated)


async def test_body_when_a_caller_asks_for_more_than_there_may_be() -> None:
    async with receiving(receivers.endless_body) as receiver:
        answer = await outbound(receiver.port).send("GET", receiver.url(), max_body=2**40)
    assert (len(answer.body), answer.is_truncated) == (2 * 1024 * 1024, True)


async def test_body_when_it_comes_in_tiny_chunks() -> None:
    chunked = receivers.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with receiving(say(chunked + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n")) as receiver:
        answer = await outbound(receiver.port).send("GET", receiver.url())
        assert answer.body == b"x" * 2000
    async with receiving(say(chunked + (b"1;" + b"e" * 200 + b"\r\nx\r\n") * 5000)) as receiver:
        assert (await failing(receiver)).code == "too_large"


async def test_bomb_when_it_is_answered() -> None:
    async with receiving(receivers.bomb) as receiver:
        answer = await outbound(receiver.port).send("GET", receiver.url())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.body == receivers.BOMB
    assert len(gzip.decompress(answer.body)) > 600 * len(answer.body)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(receivers.endless_head, id="endless_head"),
        pytest.param(receivers.endless_interim, id="endless_interim"),
        pytest.param(reply(X_Large="y" * 40_000), id="one_header"),
        pytest.param(say(receivers.HEAD + b"X: y\r\n" * 6000 + b"\r\n"), id="many_headers"),
        pytest.param(say(b"x" * 100_000), id="no_line"),
    ],
)
async def test_head_when_it_is_too_large(behaviour: Behaviour) -> None:
    async with receiving(behaviour) as receiver:
        failure = await failing(receiver)
    assert failure.code == "too_large"
    assert failure.remote_ip == "127.0.0.1"


async def test_head_when_it_is_just_small_enough() -> None:
    async with receiving(reply(X_Large="y" * 32_000, body=b"z" * 5000)) as receiver:
        answer = await outbound(receiver.port).send("GET", receiver.url())
    assert answer.headers["x-large"] == "y" * 1000, "kept headers are shorter than those that are read"
    assert answer.body == b"z" * 5000


async def test_headers_when_they_are_many_and_odd() -> None:
    lines = b"".join(b"X-%d: a\r\n" % number for number in range(100))
    odd = b"X-Odd: \xff\x01\t\x7f!\r\nX-Odd: two\r\n"
    async with receiving(say(receivers.HEAD + odd + lines + b"Content-Length: 0\r\n\r\n")) as receiver:
        answer = await outbound(receiver.port).send("GET", receiver.url())
    assert len(answer.headers) == 64
    assert answer.headers["x-odd"] == "ÿ \t !, two"


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(reset_after(b""), id="reset_at_once"),
        pytest.param(reset_after(receivers.HEAD), id="reset_in_head"),
        pytest.param(reset_after(receivers.HEAD + b"Content-Length: 9\r\n\r\nx"), id="reset_in_body"),
        pytest.param(say(b""), id="closed_at_once"),
        pytest.param(say(receivers.HEAD), id="closed_in_head"),
        pytest.param(say(receivers.HEAD + b"Content-Length: 9\r\n\r\nx"), id="closed_in_body"),
        pytest.param(say(b"SSH-2.0-OpenSSH_9.6\r\n"), id="ssh"),
        pytest.param(say(b"HTTP/1.1 two-hundred\r\n\r\n"), id="no_status"),
        pytest.param(say(receivers.HEAD + b"Content-Length: -1\r\n\r\n"), id="negative_length"),
        pytest.param(
            say(receivers.HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), id="two_lengths"
        ),
        pytest.param(say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), id="other_protocol"),
    ],
)
async def test_connection_when_it_breaks_or_makes_no_sense(behaviour: Behaviour) -> None:
    async with receiving(behaviour) as receiver:
        failure = await failing(receiver)
    assert failure.code == "connection_reset"
    assert failure.remote_ip == "127.0.0.1"


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(receivers.hang, id="hang"),
        pytest.param(receivers.drip_head, id="drip_head"),
        pytest.param(receivers.drip_body, id="drip_body"),
    ],
)
async def test_answer_when_it_takes_too_long(behaviour: Behaviour) -> None:
    async with receiving(behaviour) as receiver:
        failure = await failing(receiver, timeout_seconds=1.0)
    assert failure.code == "timeout"
    assert failure.duration_ms >= 1000


async def test_large_request_when_nobody_reads_it() -> None:
    async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(600)

    async with receiving(deaf, is_blind=True) as receiver:
        with pytest.raises(OutboundFailure) as failure:
            await outbound(receiver.port).send(
                "POST", receiver.url(), content=bytes(50_000_000), timeout_seconds=1.0
            )
    assert failure.value.code == "timeout"


async def test_request_when_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(OutboundFailure) as failure:
            await outbound(port).send("GET", f"http://hooks.example.test:{port}/")
    assert failure.value.code == "connect_refused"


async def test_connection_when_it_is_never_taken() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        either: list[tuple[dict[str, Any], float]] = [({"connect_seconds": 0.2}, 60.0), ({}, 0.3)]
        for bounds, whole in either:
            with pytest.raises(OutboundFailure) as failure:
                await outbound(port, **bounds).send(
                    "GET", f"http://hooks.example.test:{port}/", timeout_seconds=whole
                )
            assert failure.value.code == "connect_timeout"
            assert failure.value.duration_ms < 60_000


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(socket.gaierror(socket.EAI_NONAME, "unknown"), "dns_not_found", id="unknown"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "later"), "dns_timeout", id="no_answer"),
        pytest.param(UnicodeError("label too long"), "dns_not_found", id="no_name"),
        pytest.param(OSError("out of files"), "dns_not_found", id="system"),
        pytest.param(None, "dns_not_found", id="no_address"),
    ],
)
async def test_name_when_it_cannot_be_looked_up(error: Exception | None, code: str) -> None:
    async def resolve(_: str) -> list[str]:
        if error is not None:
            raise error
        return []

    with pytest.raises(OutboundFailure) as failure:
        await outbound(443, resolve=resolve).send("GET", "https://hooks.example.test/")
    assert failure.value.code == code
    assert failure.value.remote_ip is None


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> "Held":
    """Name servers that do not answer until they are let go."""
    held = Held()
    monkeypatch.setattr(socket, "getaddrinfo", held.answer)
    return held


class Held:
    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0

    def answer(self, name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        self.asked += 1
        if not name.startswith("quick"):
            self.gate.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


async def test_lookup_when_name_servers_hang(held: Held) -> None:
    client = outbound(443, resolve=names.look_up, resolve_seconds=0.1)
    sends = [client.send("GET", f"https://slow{number}.example.test/") for number in range(40)]
    # More of them than the loop's executor has threads; the loop itself goes on.
    results = asyncio.gather(*sends, return_exceptions=True)
    beats = 0
    while not results.done():
        await asyncio.sleep(0.005)
        beats += 1
    assert beats > 0
    assert not held.gate.is_set()
    assert {getattr(result, "code", None) for result in await results} == {"dns_timeout"}
    assert await asyncio.to_thread(lambda: "free") == "free"
    assert await names.look_up("quick.example.test") == ["127.0.0.1"]
    held.gate.set()


async def test_lookup_when_all_threads_wait(held: Held) -> None:
    lost = [asyncio.create_task(names.look_up(f"slow{number}")) for number in range(names.MOST_LOOKUPS)]
    while held.asked < names.MOST_LOOKUPS:  # noqa: ASYNC110 - threads count.
        await asyncio.sleep(0.005)
    for task in lost:
        task.cancel()
    late = asyncio.create_task(names.look_up("quick.example.test"))
    await asyncio.sleep(0.06)
    assert not late.done(), "whoever waited no longer does, but the threads do"
    assert held.asked == names.MOST_LOOKUPS
    held.gate.set()
    assert await late == ["127.0.0.1"]


async def test_socket_when_request_is_cancelled() -> None:
    async with receiving(receivers.hang) as receiver:
        for scheme in ("http", "https"):
            sending = asyncio.create_task(
                outbound(receiver.port).send("POST", receiver.url(scheme=scheme), timeout_seconds=30)
            )
            async with asyncio.timeout(60):
                while not receiver.open_count:  # noqa: ASYNC110 - connections come without telling.
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await receiver.all_closed()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, None),
        (204, None),
        (300, "redirect"),
        (304, "redirect"),
        (400, "http_4xx"),
        (404, "http_4xx"),
        (410, "gone"),
        (429, "rate_limited"),
        (500, "http_5xx"),
        (503, "http_5xx"),
        (999, "http_5xx"),
    ],
)
async def test_code_when_an_answer_came(status: int, code: str | None) -> None:
    async with receiving(say(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as receiver:
        answer = await outbound(receiver.port).send("POST", receiver.url())
    assert answer.status == status
    assert code_of(answer) == code
    assert answer.is_success is (code is None)
    if code is not None:
        assert hint_for(code, answer).endswith(".")


def test_hints_when_codes_are_read() -> None:
    assert set(HINTS) | {"redirect"} == NETWORK_CODES | {
        "redirect",
        "http_4xx",
        "http_5xx",
        "gone",
        "rate_limited",
    }
    for code in [*HINTS, "redirect"]:
        assert hint_for(code).endswith("."), code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("１２", None),
        ("9" * 30, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_retry_after_when_it_is_read(value: str | None, seconds: int | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_when_it_is_a_date() -> None:
    later = (clock.now() + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S")
    for zone in ("GMT", "+0000", "-0000"):
        assert 85 <= (retry_after(f"{later} {zone}") or 0) <= 90


async def test_retry_after_when_an_answer_bears_it() -> None:
    async with receiving(reply(503, Retry_After="7")) as receiver:
        answer = await outbound(receiver.port).send("POST", receiver.url())
    assert answer.retry_after_s == 7


def test_body_when_it_is_shown_to_people() -> None:
    answer = OutboundAnswer(
        status=200,
        headers={},
        body="aé\x00".encode() + b"\xff" + b"z" * 50,
        is_truncated=False,
        remote_ip="127.0.0.1",
        duration_ms=1,
        retry_after_s=None,
    )
    assert answer.body_text(5) == "aé\ufffdzz"


def test_client_when_process_asks_for_it() -> None:
    assert get_outbound() is get_outbound()


def test_opened_networks_when_process_starts(caplog: pytest.LogCaptureFixture) -> None:
    announce_opened_networks(Settings(outbound_allow=[]))
    assert caplog.text == ""
    announce_opened_networks(Settings(outbound_allow=["10.1.0.0/16", "fd00::/8"]))
    assert "OUTBOUND_ALLOW opens 10.1.0.0/16, fd00::/8" in caplog.text
