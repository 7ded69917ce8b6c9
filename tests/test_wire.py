"""What a real server does with bytes that no well-behaved client sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI

from app.core import http, protocol
from app.core.config import get_settings
from app.core.protocol import BoundedProtocol
from app.services.files import receiving
from app.services.files.receiving import uploads_folder
from tests.support.personas import Persona

CLOSE = b"Host: x\r\nConnection: close\r\n"
MEBIBYTE = 1024 * 1024


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    """The application behind the same server as `serve`, on a free port of this process."""
    config = uvicorn.Config(
        app, port=0, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, server_header=False
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ticking = asyncio.create_task(server.main_loop())
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await ticking
    await server.shutdown()


async def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Everything that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    received = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(120):
            while part := await reader.read(65536):
                received += part
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", 404),
        (b"POST /x HTTP/1.1\r\n" + CLOSE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (
            b"POST /x HTTP/1.1\r\n"
            + CLOSE
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /x HTTP/1.1\r\n" + CLOSE + b"Content-Length: -5\r\n\r\n", 400),
        (b"GET /api/products HTTP/1.1\r\n" + CLOSE + b"Authorization: Bearer \xff\xfe\xe9\r\n\r\n", 401),
        (b"GET /api/products HTTP/1.1\r\n" + CLOSE + b"Authorization: Bearer\r\n\r\n", 401),
        (
            b"GET /api/products HTTP/1.1\r\n"
            + CLOSE
            + b"Authorization: Bearer "
            + b"a" * 60_000
            + b"\r\n\r\n",
            401,
        ),
        (b"GET /nowhere/%00/%ff HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
        (b"GET /\xff\xfe HTTP/1.1\r\n" + CLOSE + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + CLOSE + b"\r\n", 404),
        (b"TRACE /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n", 405),
        (b"BREW /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n", 400),
        (b"GET http://elsewhere.test/health/live HTTP/1.1\r\n" + CLOSE + b"\r\n", 200),
    ],
)
async def test_odd_request_is_answered_without_a_defect(port: int, sent: bytes, expected: int) -> None:
    assert status(await exchange(port, sent)) == expected


async def test_upgrades_are_ignored(port: int) -> None:
    sent = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert status(await exchange(port, sent)) == 200


async def test_body_without_a_length_ends_with_413_and_the_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FORGET_SECONDS", 0.2)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = await exchange(port, head + b"Transfer-Encoding: chunked\r\n\r\n", *([chunk] * 17))
    assert status(answer) == 413
    assert b"connection: close" in answer.lower()


JSON = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("mebibytes", [5, 14])
async def test_body_that_is_far_too_large_is_answered(
    port: int, mebibytes: int, monkeypatch: pytest.MonkeyPatch, *, is_declared: bool
) -> None:
    """The whole body is sent before anything is read, and the refusal is there to be read all the same."""
    monkeypatch.setattr(http, "FORGET_SECONDS", 60)
    body = b"x" * (mebibytes * MEBIBYTE)
    if is_declared:
        answer = await exchange(port, JSON + b"Content-Length: %d\r\n\r\n" % len(body), body)
    else:
        head = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
        answer = await exchange(port, head, in_chunks(body), b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"}")
    assert b'"code":"body_too_large"' in answer
    assert b"connection: close" in answer.lower()


async def test_body_that_never_ends_is_answered_at_once_and_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads while they send has the refusal before the server gives up on them."""
    monkeypatch.setattr(http, "MAX_FORGOTTEN", 4 * MEBIBYTE)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(JSON + b"Content-Length: 1000000000\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert status(head) == 413
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
    assert b'"code":"body_too_large"' in await asyncio.wait_for(reader.readexactly(length), 60)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 * MEBIBYTE:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert 4 * MEBIBYTE <= sent < 30 * MEBIBYTE


async def test_body_that_is_too_large_is_not_waited_for_long(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = http.FORGET_SECONDS
    monkeypatch.setattr(http, "FORGET_SECONDS", 0.2)
    began = asyncio.get_running_loop().time()
    answer = await exchange(port, JSON + b"Content-Length: 9000000\r\n\r\n", b"x" * 100)
    assert status(answer) == 413
    assert asyncio.get_running_loop().time() - began < usual


async def test_request_after_a_refused_method_is_answered_on_the_same_connection(port: int) -> None:
    first = b"DELETE /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    answer = await exchange(port, first + b"GET /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 405" in answer
    assert answer.endswith(b'{"status":"pass"}')


async def test_head_is_refused_when_it_is_too_long(port: int) -> None:
    line = b"X-Padding: " + b"a" * 8000 + b"\r\n"
    answer = await exchange(port, b"GET /health/live HTTP/1.1\r\nHost: x\r\n", *([line] * 9), pause=0.01)
    assert status(answer) == 431


async def test_head_of_an_ordinary_length_is_taken(port: int) -> None:
    line = b"X-Padding: " + b"a" * 8000 + b"\r\n"
    answer = await exchange(
        port, b"GET /health/live HTTP/1.1\r\n" + CLOSE, *([line] * 7), b"\r\n", pause=0.001
    )
    assert status(answer) == 200


async def test_body_may_be_long_however_it_is_cut(port: int) -> None:
    head = (
        b"POST /api/auth/login HTTP/1.1\r\n"
        + CLOSE
        + b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n"
    )
    answer = await exchange(port, head[:50], head[50:] + b" " * 500_000, b" " * 400_000, pause=0.01)
    assert status(answer) == 400


async def test_head_that_never_ends_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    assert status(await exchange(port, b"GET /health/live HTTP/1.1\r\nHost: x\r\n")) == 408
    assert await exchange(port) == b""


async def test_idle_connection_is_kept_after_an_answer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 1.0)
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await exchange(port, request, b"GET /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n", pause=1.3)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_body_that_stops_coming_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.2)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    assert status(await exchange(port, head + b"Content-Length: 500\r\n\r\n{")) == 408
    assert status(await exchange(port, head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")) == 408


async def test_body_that_only_trickles_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.2)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def trickle() -> None:
        writer.write(head + b"Content-Length: 500\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        trickling = tasks.create_task(trickle())
        answer = await reader.read(65536)
        trickling.cancel()
    writer.close()
    assert status(answer) == 408


async def test_body_that_comes_slowly_but_steadily_is_taken(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_SECONDS", 1.0)
    head = (
        b"POST /api/auth/login HTTP/1.1\r\n"
        + CLOSE
        + b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    )
    answer = await exchange(port, head, *[b" " * 12_000] * 5, pause=0.4)
    assert status(answer) == 400


UPLOAD = b"POST /api/settings/avatar HTTP/1.1\r\nHost: api.luneo.test\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=xXx\r\n"
PART = b'--xXx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def upload_head(who: Persona, *more: bytes) -> bytes:
    token = f"Authorization: {who.headers['Authorization']}\r\n".encode()
    return UPLOAD + token + FORM + b"".join(line + b"\r\n" for line in more) + b"\r\n"


def in_chunks(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def is_tidy() -> bool:
    """Whether uploads leave nothing behind, within a moment."""
    folder = uploads_folder()
    for _ in range(1200):
        if not folder.exists() or not list(folder.iterdir()):
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("mebibytes", [3, 12])
async def test_upload_when_it_is_too_large_and_says_so(port: int, alice: Persona, mebibytes: int) -> None:
    """The whole body is sent, and the refusal is there to be read all the same."""
    body = PART + b"x" * (mebibytes * MEBIBYTE)
    head = upload_head(alice, f"Content-Length: {len(body)}".encode())
    answer = await exchange(port, head, body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"file_too_large"' in answer
    assert b"connection: close" in answer.lower()
    assert await is_tidy()


async def test_upload_when_it_is_refused_at_its_end(port: int, alice: Persona) -> None:
    """Nothing is left to be read, so nobody waits for it, and the connection serves the next request."""
    body = PART + b"x\r\n" + PART + b"y\r\n--xXx--\r\n"
    head = upload_head(alice, f"Content-Length: {len(body)}".encode())
    began = asyncio.get_running_loop().time()
    answer = await exchange(port, head + body, b"GET /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert asyncio.get_running_loop().time() - began < receiving.FORGET_SECONDS
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b'"code":"file_count"' in answer
    assert answer.count(b"HTTP/1.1 200 ") == 1


async def test_upload_when_it_asks_before_it_sends(port: int, alice: Persona) -> None:
    head = upload_head(alice, b"Content-Length: 104857600", b"Expect: 100-continue")
    answer = await exchange(port, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert await is_tidy()


async def test_upload_when_its_chunks_never_end(port: int, alice: Persona) -> None:
    """It is cut off long before the sender is done."""
    piece = in_chunks(b"x" * 65_536)
    head = upload_head(alice, b"Transfer-Encoding: chunked")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + in_chunks(PART))
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 * MEBIBYTE:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert sent < 50 * MEBIBYTE
    assert await is_tidy()


async def test_upload_when_its_sender_hangs_up(port: int, alice: Persona) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(upload_head(alice, b"Content-Length: 1000000") + PART + b"x" * 100_000)
    await writer.drain()
    folder = uploads_folder()
    for _ in range(1200):
        if folder.exists() and list(folder.iterdir()):
            break
        await asyncio.sleep(0.05)
    assert list(folder.iterdir())
    writer.transport.abort()
    assert await is_tidy()


async def test_upload_when_it_is_slow(port: int, alice: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "upload_stall_s", 1)
    head = upload_head(alice, b"Content-Length: 1000000")
    answer = await exchange(port, head, PART, b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"upload_stalled"' in answer
    assert await is_tidy()
