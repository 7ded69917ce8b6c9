"""Asks the application for an answer part by part, as a server does, and goes away when it likes."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message


class Reader:
    """One GET request whose answer is looked at and let go of."""

    def __init__(self, app: ASGIApp, path: str, headers: dict[str, str]) -> None:
        self.app = app
        self.path = path
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.status = 0
        self.parts = 0
        self.bytes = 0
        self.is_complete = False

    async def read(self, look: Callable[[], None] = lambda: None, *, leave_after: int | None = None) -> None:
        """Take the whole answer, or leave after so many parts; `look` is called at each."""
        gone = asyncio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                return
            self.parts += 1
            self.bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
            look()
            if self.parts == leave_after:
                gone.set()
            await asyncio.sleep(0)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": self.headers,
            "client": ("127.0.0.1", 50000),
            "server": ("api.luneo.test", 80),
        }
        await self.app(scope, receive, send)
