"""Answers of Stripe that are out of date by the time they are applied: they are fetched once more."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.models.orders import Order
from app.models.stripe_webhooks import StripeEvent
from app.services.stripe_webhooks.processing import process_event
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.stripe_orders import PATHS, control, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox

Deed = Callable[[], Awaitable[None]]


class Buying:
    """An order whose page is open, and what happens there while answers are on their way."""

    def __init__(
        self,
        client: AsyncClient,
        db: SystemSession,
        database: Database,
        alice: Persona,
        stripe: StripeSandbox,
    ) -> None:
        self.client, self.db, self.database, self.alice, self.stripe = client, db, database, alice, stripe
        self.order: dict[str, Any] = {}

    async def prepare(self) -> None:
        self.order = await place(self.client, self.alice, await make_product(self.db, owner=self.alice))

    async def hear(self, event_type: str) -> str:
        """Take the newest event of a type in; its id."""
        event = (await self.stripe.events(event_type))[-1]
        await self.stripe.deliver(self.client, order=[event["id"]])
        return str(event["id"])

    async def apply(self, event_type: str) -> None:
        """The same, and process it."""
        await process_event(self.database, await self.hear(event_type))

    async def status_of(self, event_id: str) -> tuple[str, str | None]:
        self.db.expire_all()
        event = (await self.db.scalars(select(StripeEvent).where(StripeEvent.id == event_id))).one()
        return event.status, event.last_error

    async def read(self) -> dict[str, Any]:
        return await read(self.client, self.alice, self.order)


@pytest.fixture
async def buying(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> Buying:
    made = Buying(client, db, database, alice, stripe_sandbox)
    await made.prepare()
    return made


def after_the_answer(monkeypatch: pytest.MonkeyPatch, stripe: StripeSandbox, asked: str, deed: Deed) -> None:
    """Let something happen once while Stripe's answer to an operation is on its way."""
    answer = stripe.client.call
    waiting = [deed]

    async def call(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        found = await answer(operation, *ids, **options)
        if operation == asked and waiting:
            await waiting.pop()()
        return found

    monkeypatch.setattr(stripe.client, "call", call)


async def test_refusal_when_the_buyer_has_taken_a_debit_meanwhile(
    buying: Buying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stock that waits for a debit is not given back because of a card that was refused before."""
    await pay(buying.stripe, buying.order, "card_declined")
    refused = await buying.hear("payment_intent.payment_failed")

    async def take_a_debit() -> None:
        await pay(buying.stripe, buying.order, "sepa")
        await buying.apply("payment_intent.processing")

    after_the_answer(monkeypatch, buying.stripe, "payment_intents.retrieve", take_a_debit)
    for status in ("pending", "done"):
        await process_event(buying.database, refused)
        assert (await buying.status_of(refused))[0] == status
        told = await buying.read()
        assert (states(told), told["reservation_expires_at"]) == (("pending", "pending", None), None)


async def test_debit_when_it_has_failed_meanwhile(buying: Buying, monkeypatch: pytest.MonkeyPatch) -> None:
    await pay(buying.stripe, buying.order, "sepa_fails")
    begun = await buying.hear("payment_intent.processing")
    await buying.apply("checkout.session.completed")

    async def fail() -> None:
        await control(buying.stripe, "clock", advance="P6D")
        await buying.apply("payment_intent.payment_failed")

    after_the_answer(monkeypatch, buying.stripe, "payment_intents.retrieve", fail)
    for status in ("pending", "done"):
        await process_event(buying.database, begun)
        assert (await buying.status_of(begun))[0] == status
        told = await buying.read()
        assert states(told) == ("pending", "failed", None)
        assert told["reservation_expires_at"] is not None


async def test_sync_when_the_debit_has_failed_meanwhile(
    buying: Buying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an event there, so the page is fetched once more at once."""
    await pay(buying.stripe, buying.order, "sepa_fails")
    await buying.apply("checkout.session.completed")

    async def fail() -> None:
        await control(buying.stripe, "clock", advance="P6D")
        await buying.apply("payment_intent.payment_failed")

    after_the_answer(monkeypatch, buying.stripe, "checkout.sessions.retrieve", fail)
    path = f"/api/orders/{buying.order['id']}/checkout/sync"
    answer = await buying.client.post(path, headers=buying.alice.headers)
    assert (answer.status_code, answer.json()["payment_status"]) == (200, "failed")


async def test_debit_of_an_older_page_when_it_fails(buying: Buying) -> None:
    """The newer page is closed for it, so that nobody pays twice, and its end is the order's."""
    soon = clock.now() + timedelta(minutes=4)
    await buying.db.execute(update(Order).values(checkout_expires_at=soon))
    await buying.db.commit()
    path = f"/api/orders/{buying.order['id']}/checkout"
    newer = await buying.client.post(path, headers=buying.alice.headers, json=PATHS)
    assert newer.status_code == 201
    # The older page is only asked to close by now.
    await pay(buying.stripe, buying.order, "sepa_fails")
    await settle(buying.client, buying.stripe, buying.database)
    told = await buying.read()
    assert (states(told), told["checkout_url"]) == (("pending", "pending", None), None)
    page = await buying.stripe.call("checkout.sessions.retrieve", newer.json()["session_id"])
    assert page["status"] == "expired"
    await control(buying.stripe, "clock", advance="P6D")
    await settle(buying.client, buying.stripe, buying.database)
    told = await buying.read()
    assert states(told) == ("pending", "failed", None)
    assert told["reservation_expires_at"] is not None
