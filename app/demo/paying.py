"""What the demo brand pays and is paid through the sandbox of Stripe: a plan, and a few orders."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from starlette.requests import Request

from app.clients.stripe import StripeClient, StripeNotConfigured, stripe_client
from app.clients.stripe.sandbox.controls import run_control
from app.core.access import Principal
from app.core.database import Database
from app.demo.acts import order_body
from app.demo.plan import PlannedOrder
from app.repositories import demo as rows
from app.schemas.billing.subscription import CheckoutCreate
from app.schemas.orders import OrderCreate
from app.services.billing.paying.checkout import CheckoutService as PlanCheckouts
from app.services.orders.checkout import CheckoutService as OrderCheckouts
from app.services.stripe_webhooks.processing import sync_object

PAID_ORDERS = 3
OUTCOMES = ("card", "paypal", "card")
PATHS = {"success_path": "/thanks?session={CHECKOUT_SESSION_ID}", "cancel_path": "/basket"}
PLAN = {"plan": "premium", "interval": "month"}


class Cashier:
    """Pays on the sandbox's pages what the owner buys and what buyers order, as people would.

    Each act is done once, whatever became of it since: what has begun is not begun again.
    """

    def __init__(self, database: Database, owner: Principal) -> None:
        self.database = database
        self.owner = owner

    async def pay(self, orders: Sequence[PlannedOrder], products: Mapping[str, UUID]) -> int:
        """Subscribe, and have some orders like these placed and paid; how many. Nothing with a real key."""
        client = _sandbox()
        if client is None:
            return 0
        async with self.database.owner(self.owner, autocommit=True) as session:
            has_plan = await rows.has_bought_plan(session)
            paid = await rows.orders_for_checkout(session)
        if not has_plan:
            await self._subscribe(client)
        missing = range(paid, min(PAID_ORDERS, len(orders)))
        for number in missing:
            await self._order(client, number, orders[number], products)
        return len(missing)

    async def _subscribe(self, client: StripeClient) -> None:
        body = CheckoutCreate.model_validate({**PLAN, **PATHS})
        async with self.database.owner(self.owner) as session:
            page, _ = await PlanCheckouts(session, self.database, self.owner).create(body, _request())
        await _complete(client, page.session_id, "card")
        await self._hear("checkout.session.completed", page.session_id)
        found = await client.call("checkout.sessions.retrieve", page.session_id)
        subscription = await client.call("subscriptions.retrieve", found["subscription"])
        await self._hear("invoice.paid", subscription["latest_invoice"])
        await self._hear("payment_method.attached", subscription["default_payment_method"])

    async def _order(
        self, client: StripeClient, number: int, planned: PlannedOrder, products: Mapping[str, UUID]
    ) -> None:
        members: dict[str, Any] = {
            **order_body(planned, products, is_draft=False),
            "payment_method": "checkout",
            "checkout": PATHS,
            "discount_code": None,
            "metadata": {rows.PAID_KEY: number},
        }
        body = OrderCreate.model_validate(members)
        async with self.database.owner(self.owner) as session:
            placed = await OrderCheckouts(session, self.owner, self.database, _request()).create(body)
        if placed.stripe_checkout_session_id is not None:
            await _complete(client, placed.stripe_checkout_session_id, OUTCOMES[number % len(OUTCOMES)])
            await self._hear("checkout.session.completed", placed.stripe_checkout_session_id)

    async def _hear(self, event_type: str, stripe_id: str) -> None:
        await sync_object(self.database, event_type, {"id": stripe_id})


def _sandbox() -> StripeClient | None:
    try:
        client = stripe_client()
    except StripeNotConfigured:
        return None
    return None if client.sandbox is None else client


def _request() -> Request:
    """A request without an idempotency key: nobody repeats it."""
    return Request({"type": "http", "method": "POST", "path": "/", "headers": []})


async def _complete(client: StripeClient, session_id: str, outcome: str) -> None:
    assert client.sandbox is not None  # noqa: S101 - `pay` has looked
    path, body = f"sessions/{session_id}/complete", {"outcome": outcome}
    await client.sandbox.change(lambda state: run_control(state, path, body))
