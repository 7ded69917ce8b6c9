"""Delivers the sandbox's events by real HTTP while the service runs, as Stripe would."""

import asyncio
import contextlib
import logging
from functools import partial

import httpx

from app.clients.stripe import stripe_client
from app.clients.stripe.sandbox.deliveries import Delivery, due_deliveries
from app.clients.stripe.sandbox.events import note_delivery
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.signature import HEADER
from app.core.config import Settings

PATH = "/api/stripe/webhook"
PAUSE = 0.5
"""Seconds between two looks at the document."""

PATIENCE = 20.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - only whom we call

log = logging.getLogger(__name__)


def sandbox_deliverer(settings: Settings) -> "Deliverer | None":
    """Who delivers the sandbox's events, where this machine plays Stripe."""
    sandbox = stripe_client().sandbox if settings.has_stripe_sandbox else None
    return Deliverer(sandbox, settings) if sandbox else None


class Deliverer:
    """One task of a serve process. Several processes may send the same event, as Stripe itself may."""

    def __init__(self, sandbox: Sandbox, settings: Settings) -> None:
        host = EVERYWHERE.get(settings.host, settings.host)
        self._sandbox = sandbox
        self._address = f"http://{host}:{settings.port}{PATH}"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to deliver, in a task of the running loop."""
        self._task = asyncio.create_task(self._run(), name="stripe sandbox")

    async def stop(self) -> None:
        """Stop at once; what was not delivered is delivered after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        # The service answers this address itself, so no proxy of the environment is asked.
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            while True:
                try:
                    await self._deliver(client)
                except OSError as error:
                    log.warning("the sandbox of Stripe cannot use its document: %s", error)
                await asyncio.sleep(PAUSE)

    async def _deliver(self, client: httpx.AsyncClient) -> None:
        for delivery in await self._sandbox.change(due_deliveries):
            succeeded = await self._send(client, delivery)
            await self._sandbox.change(
                partial(note_delivery, event_id=delivery.event_id, succeeded=succeeded)
            )

    async def _send(self, client: httpx.AsyncClient, delivery: Delivery) -> bool:
        headers = {HEADER: delivery.signature, "Content-Type": "application/json"}
        try:
            answer = await client.post(self._address, content=delivery.body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success
