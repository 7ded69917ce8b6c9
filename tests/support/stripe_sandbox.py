"""The sandbox of Stripe for one test: a store in memory, and deliveries that the test decides on."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pytest
from httpx import AsyncClient, Response

from app.clients.stripe import StripeClient, sandbox_client, use_client
from app.clients.stripe.sandbox.controls import run_control
from app.clients.stripe.sandbox.deliveries import Delivery, prepare
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.server import Answer, Request
from app.clients.stripe.sandbox.state import Object, State, shown
from app.clients.stripe.sandbox.store import MemoryStore
from app.clients.stripe.signature import HEADER, sign
from app.core import clock

WEBHOOK = "/api/stripe/webhook"


class Held:
    """Answers that are held back: `count` of them so far, until they are let go."""

    def __init__(self) -> None:
        self.count = 0
        self.let_go = asyncio.Event()

    async def until(self, count: int) -> None:
        """Wait until so many are held back."""
        async with asyncio.timeout(60):
            while self.count < count:  # noqa: ASYNC110 - requests come without telling.
                await asyncio.sleep(0.01)


@dataclass
class StripeSandbox:
    """Stripe as one test has it. `call` and `client` speak to it as the service does."""

    sandbox: Sandbox
    client: StripeClient

    async def call(self, operation: str, *ids: str, **params: Any) -> dict[str, Any]:
        """Call an operation of the library: `await sandbox.call("customers.create", email="a@b.example")`."""
        return await self.client.call(operation, *ids, params=params)

    async def object(self, identifier: str) -> Object:
        """An object as it is now, with everything that stays inside."""
        return await self.sandbox.change(lambda state: state.objects[identifier])

    async def events(self, *types: str, pending: bool = True) -> list[Object]:
        """The events, oldest first, of some types or of all; with `pending` those not delivered yet."""

        def find(state: State) -> list[Object]:
            return [
                item
                for item in state.objects.values()
                if item["object"] == "event"
                and (not types or item["type"] in types)
                and not (pending and item["_delivery"]["done"])
            ]

        return [shown(event) for event in await self.sandbox.change(find)]

    async def deliver(
        self,
        client: AsyncClient,
        *types: str,
        order: Literal["sent", "reverse", "shuffled"] | Sequence[str] = "sent",
        times: int = 1,
        again: bool = False,
        path: str = WEBHOOK,
    ) -> list[Response]:
        """Send events through the application, signed, and return what it answered.

        `types` limits it to some types. `order` is the order in which they happened, another one, or a list
        of event ids. Each is sent `times` times. With `again` those that were delivered before are sent too.
        """
        events = await self.events(*types, pending=not again)
        if not isinstance(order, str):
            by_id = {event["id"]: event for event in events}
            events = [by_id[identifier] for identifier in order]
        elif order == "reverse":
            events.reverse()
        elif order == "shuffled":
            random.Random(len(events)).shuffle(events)
        answers: list[Response] = []
        for event in events:
            # Faults of deliveries that were planned take place here, too.
            prepared = await self.sandbox.change(partial(_deliveries, event_id=event["id"], times=times))
            answers += [await self._post(client, item.body, item.signature, path) for item in prepared]
        return answers

    async def send(self, client: AsyncClient, event: Object, *, path: str = WEBHOOK) -> Response:
        """Send one event, which may have been changed, with a good signature."""
        body = json.dumps(event).encode()
        signature = sign(body, await self.sandbox.webhook_secret(), int(clock.now().timestamp()))
        return await self._post(client, body, signature, path)

    async def _post(self, client: AsyncClient, body: bytes, signature: str, path: str) -> Response:
        headers = {HEADER: signature, "Content-Type": "application/json"}
        return await client.post(path, content=body, headers=headers)

    async def mark_delivered(self, ids: Sequence[str]) -> None:
        """Let these events count as delivered."""
        await self.sandbox.change(partial(_mark, ids=ids))

    async def plan_fault(self, fault: str, *, times: int = 1, seconds: int = 0, **match: str) -> None:
        """Let the next requests by `method` and `path`, or the next deliveries of a `type`, go wrong."""
        await self.control("faults", fault=fault, times=times, seconds=seconds, match=match)

    @contextmanager
    def holding_back(self, path: str, *, times: int = 1) -> Iterator[Held]:
        """Carry out the next requests to a path inside the block, and hold their answers back."""
        held = Held()
        answer = self.sandbox.request

        async def late(request: Request) -> Answer:
            answered = await answer(request)
            if request.path == path and held.count < times:
                held.count += 1
                await held.let_go.wait()
            return answered

        self.sandbox.request = late  # type: ignore[method-assign]  # of this one sandbox
        try:
            yield held
        finally:
            held.let_go.set()
            self.sandbox.request = answer  # type: ignore[method-assign]  # as above

    async def control(self, action: str, **body: Any) -> dict[str, Any]:
        """Use a control, such as `await sandbox.control("clock", advance="P1M")`."""
        status, answer = await self.sandbox.change(lambda state: run_control(state, action, body))
        assert status == 200, answer
        return answer


def _mark(state: State, ids: Sequence[str]) -> None:
    for identifier in ids:
        state.objects[identifier]["_delivery"]["done"] = True


def _deliveries(state: State, event_id: str, times: int) -> list[Delivery]:
    """What is sent for one event, which counts as delivered unless a fault holds it back."""
    event = state.objects[event_id]
    found = [delivery for _ in range(times) for delivery in prepare(state, [event])]
    event["_delivery"]["done"] = event["_delivery"]["done"] or bool(found)
    return found


@pytest.fixture
def stripe_sandbox() -> Iterator[StripeSandbox]:
    """Stripe in memory, for this test alone; `stripe_client()` of the application is its client."""
    sandbox = Sandbox(MemoryStore(), "http://api.luneo.test/sandbox/stripe")
    client = sandbox_client(sandbox)
    before = use_client(client)
    yield StripeSandbox(sandbox, client)
    use_client(before)
