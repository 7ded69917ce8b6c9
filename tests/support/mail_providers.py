"""Real HTTP servers on loopback that play Brevo and SendGrid, rightly and wrongly."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.clients.mailer.brevo import BrevoSender
from app.clients.mailer.sendgrid import SendGridSender
from app.clients.outbound import get_outbound
from app.core.mail_addresses import parse_address

KEY = "provider-key-of-tests"

REASONS = {200: "OK", 201: "Created", 202: "Accepted"}


class PlayedMailProvider(ABC):
    """Takes mails. `status` forces an answer, `headers` go with any; `after_accepting` runs before it."""

    def __init__(self) -> None:
        self.mails: list[dict[str, Any]] = []
        self.calls = 0
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.is_mute = False
        """Takes the mail and never answers."""
        self.hangs_up = False
        """Takes the mail and breaks the connection."""
        self.after_accepting: Callable[[], Awaitable[None]] | None = None
        self.address = ""

    @abstractmethod
    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON for a request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split(" ")[1]
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.calls += 1
        status, more, said = self.answer(path, headers, body)
        if status < 300 and self.after_accepting is not None:
            await self.after_accepting()
        if self.is_mute:
            await reader.read()
        elif not self.hangs_up:
            content = json.dumps(said).encode() if said is not None else b""
            lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'No')}", f"Content-Length: {len(content)}"]
            lines += [f"{name}: {value}" for name, value in {**more, **self.headers}.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        writer.close()


class PlayedBrevo(PlayedMailProvider):
    """`POST /v3/smtp/email`; a repeated idempotency key is refused as Brevo does."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    @property
    def sender(self) -> BrevoSender:
        return BrevoSender(KEY, get_outbound(), address=self.address, seconds=5)

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], Any]:
        if path != "/v3/smtp/email":
            return 404, {}, {"code": "not_found", "message": "Route not found"}
        if headers.get("api-key") != KEY:
            return 401, {}, {"message": "Key not found", "code": "unauthorized"}
        if self.status is not None:
            return self.status, {}, {"code": "error", "message": "forced"}
        return self._take(body)

    def _take(self, body: Any) -> tuple[int, dict[str, str], Any]:
        for name in ("sender", "to", "subject", "htmlContent"):
            if not body.get(name):
                return 400, {}, {"code": "missing_parameter", "message": f"{name} is missing"}
        if not _is_address(body["to"][0]["email"]):
            return 400, {}, {"code": "invalid_parameter", "message": "email is not valid in to"}
        key = body["headers"].get("idempotencyKey")
        if key in self.keys:
            return 400, {}, {"code": "duplicate_parameter", "message": "Idempotency key has been used"}
        self.keys.add(key)
        self.mails.append(body)
        return 201, {}, {"messageId": f"<{len(self.mails)}@smtp-relay.mailin.fr>"}


class PlayedSendGrid(PlayedMailProvider):
    """`POST /v3/mail/send`; it takes the same mail as often as it is sent."""

    @property
    def sender(self) -> SendGridSender:
        return SendGridSender(KEY, get_outbound(), address=self.address, seconds=5)

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], Any]:
        if path != "/v3/mail/send":
            return 404, {}, _errors("not found", None)
        if headers.get("authorization") != f"Bearer {KEY}":
            return 401, {}, _errors("The provided authorization grant is invalid, expired, or revoked", None)
        if self.status is not None:
            return self.status, {}, _errors("forced", None)
        to = body["personalizations"][0]["to"][0]["email"]
        if not _is_address(to):
            return 400, {}, _errors("Does not contain a valid address.", "personalizations.0.to.0.email")
        if [part["type"] for part in body["content"]] != ["text/plain", "text/html"]:
            return 400, {}, _errors("The content must be text/plain first, then text/html.", "content")
        self.mails.append(body)
        return 202, {"X-Message-Id": f"sg-{len(self.mails)}"}, None


def _errors(message: str, field: str | None) -> dict[str, Any]:
    return {"errors": [{"message": message, "field": field, "help": None}]}


def _is_address(text: str) -> bool:
    """Both providers know more wrong addresses than we do; tests name such a domain."""
    return bool(parse_address(text)) and not text.endswith("@unknown.luneo.test")


@asynccontextmanager
async def _listening(provider: PlayedMailProvider) -> AsyncIterator[None]:
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield
    server.close()
    await server.wait_closed()


@pytest.fixture
async def brevo() -> AsyncIterator[PlayedBrevo]:
    """A server that plays Brevo."""
    provider = PlayedBrevo()
    async with _listening(provider):
        yield provider


@pytest.fixture
async def sendgrid() -> AsyncIterator[PlayedSendGrid]:
    """A server that plays SendGrid."""
    provider = PlayedSendGrid()
    async with _listening(provider):
        yield provider
