"""The sandbox's events reach the intake by real HTTP, signed, and again after a failure."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from app.clients.stripe.signature import verify
from app.core import clock
from app.core.config import Settings
from app.services.stripe_sandbox.delivering import Deliverer, sandbox_deliverer
from tests.support.stripe_sandbox import StripeSandbox


@dataclass
class Intake:
    """A server that keeps what it is sent, and answers with the next status; 200 when there is none."""

    statuses: list[int] = field(default_factory=list)
    port: int = 0
    received: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    """Request line, signature and body."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (entry.partition(b":") for entry in lines)
        }
        body = await reader.readexactly(int(headers[b"content-length"]))
        self.received.append((line, headers[b"stripe-signature"], body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    found = Intake()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await server.wait_closed()


@pytest.fixture
async def deliverer(stripe_sandbox: StripeSandbox, intake: Intake) -> AsyncIterator[Deliverer]:
    running = Deliverer(stripe_sandbox.sandbox, Settings(_env_file=None, port=intake.port))
    await running.start()
    yield running
    await running.stop()


async def attempts(sandbox: StripeSandbox) -> list[int]:
    """How often each event was sent that is still to be delivered."""
    return [(await sandbox.object(event["id"]))["_delivery"]["attempts"] for event in await sandbox.events()]


async def delivered(sandbox: StripeSandbox) -> None:
    """Wait until nothing is left to deliver."""
    for _ in range(1200):
        if not await sandbox.events():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"still to be delivered, after so many attempts each: {await attempts(sandbox)}")


@pytest.mark.usefixtures("deliverer")
@pytest.mark.parametrize("statuses", [[], [500], [400]])
async def test_event_when_the_intake_answers(
    stripe_sandbox: StripeSandbox, intake: Intake, statuses: list[int]
) -> None:
    intake.statuses = list(statuses)
    await stripe_sandbox.call("customers.create", email="a@b.example")
    await delivered(stripe_sandbox)
    assert len(intake.received) == len(statuses) + 1
    secret = await stripe_sandbox.sandbox.webhook_secret()
    for line, signature, body in intake.received:
        assert line == b"POST /api/stripe/webhook HTTP/1.1"
        verify([signature], body, [secret], int(clock.now().timestamp()))
        assert json.loads(body)["type"] == "customer.created"


@pytest.mark.usefixtures("deliverer")
async def test_events_when_there_are_many(stripe_sandbox: StripeSandbox, intake: Intake) -> None:
    """Each arrives, in the order in which it happened."""
    made = [(await stripe_sandbox.call("customers.create", name=str(n)))["id"] for n in range(25)]
    await delivered(stripe_sandbox)
    assert [json.loads(body)["data"]["object"]["id"] for _, _, body in intake.received] == made


async def test_event_when_nobody_listens(stripe_sandbox: StripeSandbox, intake: Intake) -> None:
    await stripe_sandbox.call("customers.create", email="a@b.example")
    lost = Deliverer(stripe_sandbox.sandbox, Settings(_env_file=None, port=1))
    await lost.start()
    for _ in range(1200):
        if await attempts(stripe_sandbox) != [0]:
            break
        await asyncio.sleep(0.05)
    await lost.stop()
    assert await attempts(stripe_sandbox) in ([1], [2])


async def test_deliverer_when_there_is_a_real_key() -> None:
    assert sandbox_deliverer(Settings(_env_file=None, stripe_secret_key="sk_test_abc")) is None
