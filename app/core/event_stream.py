"""Server-sent events: how one is written, and the answer that keeps sending them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

WRITE_SECONDS = 30.0
"""How long one write may be held up by its reader."""

FAREWELL_SECONDS = 1.0
"""How long the last words to such a reader may be held up."""


def frame(kind: str, data: str | Mapping[str, Any], *, cursor: str | None = None) -> bytes:
    """One event. `data` is JSON text, in which no line ends, or what becomes it."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    identifier = f"id: {cursor}\n" if cursor is not None else ""
    return f"{identifier}event: {kind}\ndata: {text}\n\n".encode()


class Source(Protocol):
    """Where a stream's bytes come from."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Pieces of whole events, until the stream is over."""
        ...

    def leave(self) -> None:
        """The reader is gone: `chunks` ends as soon as it can."""
        ...

    def too_slow(self) -> bytes:
        """The last words to a reader that does not read."""
        ...

    async def close(self) -> None:
        """Give everything back; called once, however the stream ended."""
        ...


class EventStream(Response):
    """Sends what its source gives, until the source or the reader has had enough."""

    media_type = "text/event-stream"

    def __init__(self, source: Source) -> None:
        self.source = source
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer a request."""
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch(receive))
                await self._send(send)
                watcher.cancel()
        finally:
            await self.source.close()

    async def _watch(self, receive: Receive) -> None:
        """Tell the source when the reader has gone."""
        await until_gone(receive)
        self.source.leave()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self.source.chunks()) as chunks:
            async for chunk in chunks:
                if not await _write(send, chunk, seconds=WRITE_SECONDS):
                    await _write(send, self.source.too_slow(), seconds=FAREWELL_SECONDS, is_last=True)
                    return
        await _write(send, b"", seconds=WRITE_SECONDS, is_last=True)


async def until_gone(receive: Receive) -> None:
    """Wait for a client to go away. One that sends a body that no layer lets pass is as good as gone."""
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass


async def _write(send: Send, body: bytes, *, seconds: float, is_last: bool = False) -> bool:
    """Write one chunk; whether its reader made room for it in time."""
    try:
        async with asyncio.timeout(seconds):
            await send({"type": "http.response.body", "body": body, "more_body": not is_last})
    except TimeoutError:
        return False
    return True
