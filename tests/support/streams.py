"""Streams over real sockets: a server inside the test's process, and a client that reads what it sends."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI
from httpx import AsyncClient, HTTPError, Response
from starlette.types import ASGIApp

from app.core.database import Database
from app.core.events import Event, emit
from app.jobs.sequencer import Sequencer
from app.services.realtime.hub import Hub

PATIENCE = 60.0
"""Seconds for what takes moments on a machine that has nothing else to do."""

STREAM = "/api/realtime/stream"


@dataclass(frozen=True)
class Frame:
    """One server-sent event."""

    kind: str
    id: str | None
    data: dict[str, Any]
    retry: int | None

    @property
    def position(self) -> int:
        assert self.id is not None
        return int(self.id.partition(".")[2])

    @property
    def number(self) -> Any:
        """The payload of an event that `declare_event` made."""
        return self.data["data"]["number"]


def parse(block: str) -> Frame:
    """One block of lines as browsers read it."""
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    retry = fields.get("retry")
    return Frame(fields["event"], fields.get("id"), json.loads(fields["data"]), int(retry) if retry else None)


class Followed:
    """What a stream has sent so far."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        self.frames: list[Frame] = []
        self.is_over = False
        self._news = asyncio.Event()

    async def read(self) -> None:
        """Collect frames until the stream ends."""
        rest = ""
        try:
            async for text in self.answer.aiter_text():
                *blocks, rest = (rest + text).split("\n\n")
                self.frames += map(parse, blocks)
                self._news.set()
        except HTTPError:
            rest = ""
        self.is_over = True
        self._news.set()

    @property
    def events(self) -> list[Frame]:
        """The frames that are events of the log."""
        return [frame for frame in self.frames if "api_version" in frame.data]

    @property
    def numbers(self) -> list[Any]:
        return [frame.number for frame in self.events]

    async def until(self, condition: Callable[[], object], *, seconds: float = PATIENCE) -> None:
        """Wait for something to be read."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"only {[frame.kind for frame in self.frames][-20:]} came") from None

    async def until_number(self, number: int) -> None:
        """Wait for the event with this payload."""
        await self.until(lambda: number in self.numbers)

    async def first(self, kind: str) -> Frame:
        """The first frame of a kind."""
        await self.until(lambda: any(frame.kind == kind for frame in self.frames))
        return next(frame for frame in self.frames if frame.kind == kind)

    async def count(self, number: int) -> list[Frame]:
        """The events, once there are so many."""
        await self.until(lambda: len(self.events) >= number)
        return self.events

    async def end(self) -> Frame:
        """The last frame, once the server has ended the stream."""
        await self.until(lambda: self.is_over)
        return self.frames[-1]


@asynccontextmanager
async def following(
    http: AsyncClient, headers: dict[str, str], path: str = STREAM, **params: str
) -> AsyncIterator[Followed]:
    """Follow a stream inside the block; it has said hello when the block begins."""
    async with http.stream("GET", path, headers=headers, params=params, timeout=PATIENCE) as answer:
        if answer.status_code != 200:
            raise AssertionError(f"{answer.status_code} {(await answer.aread()).decode()}")
        followed = Followed(answer)
        reading = asyncio.create_task(followed.read())
        try:
            await followed.first("hello")
            yield followed
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class LiveServer:
    """The application behind a real socket, and a sequencer beside it."""

    def __init__(self, app: FastAPI, served: ASGIApp) -> None:
        self.app = app
        config = uvicorn.Config(
            served,
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        # With the buffers that the system gives by itself, megabytes pass before a writer notices anything.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self._sequencer = Sequencer(app.state.database.engine.url, pause=0.01)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def start(self) -> None:
        await self._server.startup(sockets=[self._socket])
        self._tasks = [
            asyncio.create_task(work) for work in (self._server.main_loop(), self._sequencer.run())
        ]
        assert await self.hub.wait_until_ready(PATIENCE)

    async def until_empty(self) -> None:
        """Wait until nobody is connected any more."""
        async with asyncio.timeout(PATIENCE):
            while self.hub.registry.all:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.005)

    async def until(self, position: int) -> None:
        """Wait until the hub has come that far."""
        async with asyncio.timeout(PATIENCE):
            while self.hub.position < position:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """End streams and server, as the command does."""
        self._sequencer.stop()
        self._server.should_exit = True
        await asyncio.gather(*self._tasks)
        await self.hub.drain(lambda: True)
        await self._server.shutdown(sockets=[self._socket])
        self.app.state.hub = None


@contextlib.asynccontextmanager
async def client_of(server: LiveServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        yield http


async def happen(
    database: Database, *events: Event, organization_id: UUID | None = None, user_id: UUID | None = None
) -> None:
    """Emit these events, in one transaction."""
    async with database.transaction() as session:
        for event in events:
            await emit(session, event, organization_id=organization_id, user_id=user_id)
