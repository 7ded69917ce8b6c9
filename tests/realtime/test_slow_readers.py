"""Slow readers: bounded in memory, noticed by nobody else, and whole in the end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import pytest
from httpx import AsyncClient
from prometheus_client import REGISTRY

from app.core import event_stream
from app.core.database import Database
from app.core.events import Event
from app.services.realtime.connections import MOST_BYTES, MOST_EVENTS, Connection
from app.services.realtime.ring import LogEvent
from tests.support.streams import STREAM, Frame, LiveServer, following, happen, parse

pytestmark = pytest.mark.commits

FILLING = "x" * 12_000


@dataclass(frozen=True, kw_only=True)
class Filled(Event):
    """An event of some size."""

    description: ClassVar = "Something large."
    audience: ClassVar = "personal"
    number: int
    text: str = FILLING


class Sleeper:
    """A client with a small buffer that reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.frames: list[Frame] = []
        self.rest = ""

    async def read(self) -> bool:
        """Read one chunk; False at the end."""
        try:
            size = int(await self.reader.readline() or b"0", 16)
            text = (await self.reader.readexactly(size + 2))[:-2].decode()
        except asyncio.IncompleteReadError:
            return False
        *blocks, self.rest = (self.rest + text).split("\n\n")
        self.frames += map(parse, blocks)
        return size > 0

    @property
    def numbers(self) -> list[int]:
        return [frame.number for frame in self.frames if frame.kind == "test.filled"]


@asynccontextmanager
async def sleeping(server: LiveServer, person: Any) -> AsyncIterator[Sleeper]:
    """A stream whose client has read nothing but the head of the answer."""
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    plug.setblocking(False)
    host, _, port = server.url.removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(plug, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plug, limit=8192)
    try:
        head = (
            f"GET {STREAM} HTTP/1.1\r\nHost: test\r\nAuthorization: {person.headers['Authorization']}\r\n\r\n"
        )
        writer.write(head.encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        sleeper = Sleeper(reader)
        await sleeper.read()
        yield sleeper
    finally:
        writer.transport.abort()


@pytest.fixture(autouse=True)
def filled(registry: None) -> None:
    """The class that these tests emit."""
    Filled.type = "test.filled"


def lagging() -> float:
    return REGISTRY.get_sample_value("luneo_streams_lagging") or 0.0


async def test_slow_reader_is_bounded_and_gets_everything_in_the_end(
    server: LiveServer, http: AsyncClient, database: Database, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, before = 600, lagging()
    seen: list[tuple[UUID, tuple[int, int]]] = []
    offer = Connection.offer

    def noting(connection: Connection, event: LogEvent) -> None:
        offer(connection, event)
        seen.append((connection.id, connection.queued))

    monkeypatch.setattr(Connection, "offer", noting)
    async with sleeping(server, alice) as sleeper, following(http, alice.headers) as quick:
        slow = next(
            one for one in server.hub.registry.all if str(one.id) == sleeper.frames[0].data["connection_id"]
        )
        for number in range(0, count, 20):
            batch = [Filled(number=number + step) for step in range(20)]
            await happen(database, *batch, user_id=alice.user_id)
        await quick.count(count)
        assert quick.numbers == list(range(count))
        assert not slow.is_live
        assert slow.queued == (0, 0)
        assert lagging() == before + 1
        assert 0 < len(sleeper.frames) < count / 2
        # The newest are in memory; the rest must come from the table.
        server.hub.ring.clear(server.hub.position)
        async with asyncio.timeout(60):
            while len(sleeper.numbers) < count:
                assert await sleeper.read()
            await happen(database, Filled(number=count), user_id=alice.user_id)
            while len(sleeper.numbers) <= count:
                assert await sleeper.read()
            while not slow.is_live:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)
        assert lagging() == before
    queued = [waiting for connection_id, waiting in seen if connection_id == slow.id]
    assert max(events for events, _ in queued) <= MOST_EVENTS
    assert MOST_BYTES / 4 < max(size for _, size in queued) <= MOST_BYTES
    assert sleeper.numbers == list(range(count + 1))
    positions = [frame.position for frame in sleeper.frames if frame.kind == "test.filled"]
    assert positions == sorted(set(positions))


async def test_reader_is_left_when_it_takes_nothing_for_too_long(
    server: LiveServer, database: Database, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "WRITE_SECONDS", 0.3)
    monkeypatch.setattr(event_stream, "FAREWELL_SECONDS", 60)
    async with sleeping(server, alice) as sleeper:
        batch = [Filled(number=number) for number in range(100)]
        await happen(database, *batch, user_id=alice.user_id)
        async with asyncio.timeout(60):
            while server.hub.registry.all:
                await asyncio.sleep(0.3)
                await sleeper.read()
            while await sleeper.read():
                pass
    numbers = sleeper.numbers
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 100
    last = sleeper.frames[-1]
    assert last.kind == "bye", json.dumps(last.data)
    assert last.data == {"code": "slow_reader", "reconnect": True}
    assert last.position == sleeper.frames[-2].position
