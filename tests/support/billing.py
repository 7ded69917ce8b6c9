"""Buying plans in tests: the sandbox pays, and events and commands go on until all is quiet."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from httpx import AsyncClient, Response
from sqlalchemy import select

from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.controls import run_control
from app.core.database import Database
from app.models.billing import Subscription
from app.models.stripe_webhooks import StripeCommand, StripeEvent
from app.services.billing.paying.catalog import check_catalog
from app.services.stripe_webhooks.executing import execute
from app.services.stripe_webhooks.processing import process_event
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

PATHS = {"success_path": "/billing?session={CHECKOUT_SESSION_ID}", "cancel_path": "/billing/plans"}


@dataclass
class Shop:
    """What a test of billing works with."""

    client: AsyncClient
    database: Database
    stripe: StripeSandbox

    async def open(self) -> None:
        """Have the prices of the price list at Stripe."""
        await check_catalog(self.database)

    async def checkout(
        self, payer: Persona, plan: str = "premium", interval: str = "month", **more: Any
    ) -> Response:
        """Ask for the page on which a plan is bought."""
        body = {"plan": plan, "interval": interval, **PATHS, **more}
        return await self.client.post("/api/billing/checkout", json=body, headers=payer.headers)

    async def pay(self, session_id: str, outcome: str = "card") -> None:
        """Pay on that page, as a person would."""
        await self.stripe.sandbox.change(lambda state: complete(state, session_id, outcome))

    async def buy(self, payer: Persona, plan: str = "premium", interval: str = "month") -> Subscription:
        """The subscription that somebody bought, once all is quiet."""
        answer = await self.checkout(payer, plan, interval)
        assert answer.status_code in {200, 201}, answer.text
        await self.pay(answer.json()["session_id"])
        await self.settle()
        return await self.subscription(payer)

    async def subscription(self, payer: Persona) -> Subscription:
        """The newest mirror of an organisation."""
        async with self.database.system() as session:
            found = await session.scalars(
                select(Subscription)
                .where(Subscription.organization_id == payer.organization_id)
                .order_by(Subscription.created_at.desc())
            )
            return found.first() or await _none()

    async def control(self, path: str, **body: Any) -> dict[str, Any]:
        """Tell the sandbox something, such as `clock` with `advance="P1M"`."""
        _, answer = await self.stripe.sandbox.change(lambda state: run_control(state, path, body))
        return answer

    async def settle_at_stripe(self) -> None:
        """Let Stripe do what is due by its clock, which it looks at with every request."""
        await self.stripe.call("customers.list", limit=1)

    async def settle(self) -> None:
        """Deliver and process events, and send commands, until nothing is left."""
        for _ in range(30):
            answers = await self.stripe.deliver(self.client)
            assert {answer.status_code for answer in answers} <= {200}
            if not (await self.process() + await self.send() + len(answers)):
                return
        raise AssertionError("Stripe and the service keep each other busy")

    async def process(self) -> int:
        """Process what is pending in the inbox; how many."""
        async with self.database.system() as session:
            pending = await session.scalars(
                select(StripeEvent.id)
                .where(StripeEvent.status == "pending")
                .order_by(StripeEvent.received_at)
            )
            ids = list(pending)
        for event_id in ids:
            await process_event(self.database, event_id)
        return len(ids)

    async def send(self) -> int:
        """Send the commands that wait; how many."""
        async with self.database.system() as session:
            found = await session.execute(
                select(StripeCommand.organization_id, StripeCommand.id)
                .where(StripeCommand.status.in_(("pending", "sent")))
                .order_by(StripeCommand.created_at)
            )
            waiting: list[tuple[UUID, UUID]] = [(row[0], row[1]) for row in found]
        for organization_id, command_id in waiting:
            await execute(self.database, organization_id, command_id)
        return len(waiting)


async def _none() -> Subscription:
    raise AssertionError("there is no subscription")
