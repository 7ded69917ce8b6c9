"""Servers of other people on loopback: well-behaved ones, and those that drip, hang, flood or break off."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BOMB = gzip.compress(bytes(10_000_000))
"""Ten megabytes in ten kilobytes."""


class Receiver:
    """Listens on a free port of loopback; the path of a request says how it is treated.

    A blind one does not read the request, and does as for `/`. `requests` are the heads that came, with their
    bodies. `open_count` is how many connections are open, `accepted_count` how many there ever were.
    """

    def __init__(self, behaviours: Mapping[str, Behaviour], *, is_blind: bool = False) -> None:
        self.port = 0
        self.requests: list[tuple[str, bytes]] = []
        self.server_names: list[str | None] = []
        self.open_count = 0
        self.accepted_count = 0
        self._behaviours = behaviours
        self._is_blind = is_blind
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", *, scheme: str = "http", host: str = "hooks.example.test") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def all_closed(self, within: float = 60.0) -> None:
        """Wait until no connection is open; TimeoutError."""
        async with asyncio.timeout(within):
            while self.open_count:  # noqa: ASYNC110 - connections end without telling.
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._treat(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_count += 1
        self.accepted_count += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                if self._is_blind:
                    await self._behaviours["/"](reader, writer)
                    return
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                body = await reader.readexactly(_length_of(head))
                self.requests.append((head, body))
                path = head.split(" ", 2)[1].partition("?")[0]
                await self._behaviours[path](reader, writer)
        finally:
            self.open_count -= 1
            writer.close()


def _length_of(head: str) -> int:
    for line in head.lower().split("\r\n"):
        if line.startswith("content-length:"):
            return int(line.partition(":")[2])
    return 0


@asynccontextmanager
async def receiving(
    behaviours: Mapping[str, Behaviour] | Behaviour,
    tls: ssl.SSLContext | None = None,
    *,
    is_blind: bool = False,
) -> AsyncIterator[Receiver]:
    """A receiver that listens inside the block, with a behaviour for `/` or for each path."""
    receiver = Receiver({"/": behaviours} if callable(behaviours) else behaviours, is_blind=is_blind)
    if tls is not None:
        tls.sni_callback = lambda _, name, __: receiver.server_names.append(name)
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0, ssl=tls, backlog=512)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.end()


def reply(status: int = 200, body: bytes = b"ok", **headers: str) -> Behaviour:
    """Answer at once. Names of headers are given with underscores."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return say("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def say(answer: bytes) -> Behaviour:
    """Send these bytes and close."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return behave


def repeat(part: bytes, *, first: bytes = b"", every: float = 0.0) -> Behaviour:
    """Send `first`, then `part` for ever, with a pause in between or as fast as it goes."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every)

    return behave


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Answer nothing until the client goes away."""
    await reader.read()


def reset_after(answer: bytes) -> Behaviour:
    """Send these bytes, then cut the connection with a reset."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.02)  # What was sent arrives before the reset, which would overtake it.
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


HEAD = b"HTTP/1.1 200 OK\r\n"
drip_head = repeat(b"x", first=HEAD + b"X-Slow: ", every=0.01)
drip_body = repeat(b"x", first=HEAD + b"Content-Length: 100000\r\n\r\n", every=0.01)
endless_body = repeat(b"x" * 16_384, first=HEAD + b"\r\n")
endless_head = repeat(b"X-More: " + b"y" * 1000 + b"\r\n", first=HEAD)
endless_interim = repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50)
bomb = reply(body=BOMB, Content_Encoding="gzip")
to_metadata = reply(302, b"", Location="http://169.254.169.254/latest/meta-data/")
