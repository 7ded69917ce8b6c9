"""An endpoint on loopback for tests of webhooks, and the jobs of a later moment."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from app.clients.outbound import OutboundClient
from app.core.config import get_settings
from app.core.database import Database
from tests.support.events import handle_events
from tests.support.receivers import Behaviour, Receiver, receiving, reply

BRING_FORWARD = text(
    "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND scheduled_at <= :moment"
)


class Hook:
    """What a customer has at the address, and what came there. Set `behaves` to change how it answers."""

    def __init__(self) -> None:
        self.behaves: Behaviour = reply()
        self.receiver: Receiver | None = None

    @property
    def url(self) -> str:
        assert self.receiver is not None
        return self.receiver.url("/luneo", host="127.0.0.1")

    @property
    def requests(self) -> list[tuple[dict[str, str], bytes]]:
        """The headers, in lower case, and the body of each request."""
        assert self.receiver is not None
        return [(_headers(head), body) for head, body in self.receiver.requests]

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each request."""
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def types(self) -> list[str]:
        """The type of each envelope."""
        return [json.loads(body)["type"] for _, body in self.requests]

    def forget(self) -> None:
        assert self.receiver is not None
        self.receiver.requests.clear()

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.behaves(reader, writer)


def _headers(head: str) -> dict[str, str]:
    lines = [line.partition(":") for line in head.split("\r\n")[1:] if line]
    return {name.lower(): value.strip() for name, _, value in lines}


@asynccontextmanager
async def hooking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hook]:
    """A hook that the outbound client may reach, inside the block; several may be open."""
    hook = Hook()
    async with receiving({"/luneo": hook.behave}) as receiver:
        hook.receiver = receiver
        allow_receivers(monkeypatch, receiver)
        yield hook


def allow_receivers(monkeypatch: pytest.MonkeyPatch, *receivers: Receiver) -> None:
    """Let the outbound client of the process reach these receivers on loopback."""
    settings = get_settings()
    ports = [*settings.outbound_ports, *(str(receiver.port) for receiver in receivers)]
    for name, value in (
        ("outbound_allow_http", True),
        ("outbound_allow", ["127.0.0.1/32"]),
        ("outbound_ports", ports),
    ):
        monkeypatch.setattr(settings, name, value)


def let_them_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up no request that nobody answers, however long a test takes."""
    waits = OutboundClient.send.__kwdefaults__ or {}
    assert "timeout_seconds" in waits
    monkeypatch.setitem(waits, "timeout_seconds", 300.0)


async def handle_until_now(database: Database) -> None:
    """Handle events and run every job that is due by the moved clock."""
    async with database.system() as session:
        await session.execute(BRING_FORWARD, {"moment": await session.now()})
        await session.commit()
    await handle_events(database)


def envelope_of(body: bytes) -> dict[str, Any]:
    """A request's envelope."""
    envelope: dict[str, Any] = json.loads(body)
    return envelope
