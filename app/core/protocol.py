"""HTTP/1.1 with bounds on heads and on the pace of bodies: uvicorn takes heads of any size, at any pace."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 20.0

BODY_BYTES = 4096
BODY_SECONDS = 30.0
"""While a body comes, each span of so many seconds brings at least so many bytes, or its end."""

REFUSAL = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a head that is too long (431), and a head or a body that does not come to its end (408)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._received = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._body_received = 0
        self._body_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_body()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What begins a head may end the body before it, so it is counted from the next piece on.
        is_in_head = self._deadline is not None
        super().data_received(data)
        if is_in_head and self._deadline is not None:
            self._received += len(data)
            if self._received > HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._forget_head()
        super().on_headers_complete()
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        self._body_received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._forget_body()
        super().on_message_complete()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._received = 0
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_body(self) -> None:
        self._forget_body()
        self._body_received = 0
        self._body_deadline = self.loop.call_later(BODY_SECONDS, self._judge_pace)

    def _forget_body(self) -> None:
        if self._body_deadline is not None:
            self._body_deadline.cancel()
            self._body_deadline = None

    def _judge_pace(self) -> None:
        # While reading is paused, it is this side that is slow.
        if self.flow.read_paused or self._body_received >= BODY_BYTES:
            self._expect_body()
            return
        if not self.transport.is_closing():
            if not self.cycle.response_started:
                self.transport.write(REFUSAL % b"408 Request Timeout")
            self.transport.close()

    def _refuse(self, status: bytes) -> None:
        self._forget_head()
        if self.transport.is_closing():
            return
        # A connection on which nobody has asked anything is closed without a word.
        if self._received > 0 and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(REFUSAL % status)
        self.transport.close()
