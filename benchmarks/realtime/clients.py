"""Clients that cost little, so that they can be many: of streams, and of ordinary requests."""

import asyncio
import json
import re
from array import array
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

FRAME = re.compile(rb"id: ([a-z2-7]{8}\.([0-9]+))\nevent: ([a-z_.]+)\n")
LENGTH = re.compile(rb"content-length: ([0-9]+)", re.IGNORECASE)


class RefusedError(Exception):
    """A stream that was not opened; the argument is the status, 0 when nothing was answered."""


class Stream(asyncio.Protocol):
    """One stream: position and time of every event, and how often the server said anything else."""

    def __init__(self, request: bytes) -> None:
        self.positions = array("q")
        self.times = array("d")
        self.cursor = ""
        self.said: Counter[str] = Counter()
        self.status = 0
        self.is_over = False
        self.news = asyncio.Event()
        self._request = request
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._time = asyncio.get_running_loop().time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what came; the chunks of the answer end where frames do, so their sizes stand between."""
        now = self._time()
        if not self.status:
            self.status = int(data[9:12])
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            found = FRAME.search(block)
            if found is None:
                continue
            self.cursor = found[1].decode()
            if b"." in found[3]:
                self.positions.append(int(found[2]))
                self.times.append(now)
            else:
                self.said[found[3].decode()] += 1
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it
        """Note the end."""
        self.is_over = True
        self.news.set()

    def leave(self) -> None:
        """Close the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def until(self, kind: str) -> None:
        """Wait until the server has said something; RefusedError when it does not let us in, or leaves."""
        while not self.said[kind]:
            if self.status not in (0, 200) or self.is_over:
                raise RefusedError(self.status)
            self.news.clear()
            await self.news.wait()


async def open_stream(url: str, token: str, cursor: str | None = None) -> Stream:
    """Follow the events of whoever the token is of, from a cursor or from now; it has said hello."""
    address = urlsplit(url)
    resumed = f"Last-Event-ID: {cursor}\r\n" if cursor else ""
    request = (
        f"GET /api/realtime/stream HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {token}\r\n{resumed}\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(
        lambda: Stream(request), str(address.hostname), int(address.port or 80)
    )
    try:
        await stream.until("hello")
    except BaseException:
        stream.leave()
        raise
    return stream


class Caller:
    """Sends requests over one connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    @classmethod
    async def connect(cls, url: str, token: str) -> "Caller":
        """A connection to the service at `url`, for whoever the token is of."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        )
        return cls(reader, writer, head)

    async def send(self, method: str, path: str, body: object) -> Any:
        """The JSON of the answer; RuntimeError unless it is a success."""
        sent = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(sent)}\r\n\r\n"
        self._writer.write(head.encode() + sent)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(answer)
        content = await self._reader.readexactly(int(length[1]) if length else 0)
        if answer[9:10] != b"2":
            raise RuntimeError(f"{method} {path}: {answer[:15].decode()} {content[:300].decode()}")
        return json.loads(content)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
