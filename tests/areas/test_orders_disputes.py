"""Disputes of paid orders: what held them before, what is decided, and answers that are older than that."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.stripe.sandbox.state import State
from app.core.database import Database, SystemSession
from app.models.billing import RevenueEntry
from app.models.orders import Order, OrderPayment
from app.models.realtime import EventLog
from app.services.orders.disputing import apply_dispute
from app.services.orders.verifying import report_money
from app.services.stripe_webhooks.processing import sync_object
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.stripe_events import event_of
from tests.support.stripe_orders import act, control, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox


class Disputed:
    """A paid order and the dispute of its payment."""

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
        self.dispute: dict[str, Any] = {}

    async def sell(self) -> None:
        product = await make_product(self.db, owner=self.alice, price=12345, stock=5)
        self.order = await place(self.client, self.alice, product)
        await pay(self.stripe, self.order)
        await self.settle()

    async def open(self) -> None:
        intent = (await self.read())["payments"][0]["stripe_payment_intent_id"]
        charge = (await self.stripe.object(intent))["latest_charge"]
        self.dispute = await control(self.stripe, "disputes", charge=charge)
        await self.settle()

    async def close(self, outcome: str) -> None:
        await control(self.stripe, f"disputes/{self.dispute['id']}/close", outcome=outcome)
        await self.settle()

    async def settle(self, **how: Any) -> None:
        await settle(self.client, self.stripe, self.database, **how)

    async def act(self, name: str, expect: int = 200, **body: Any) -> dict[str, Any]:
        return await act(self.client, self.alice, self.order, name, expect, **body)

    async def read(self) -> dict[str, Any]:
        return await read(self.client, self.alice, self.order)

    async def moved(self) -> list[tuple[str, int]]:
        columns = (RevenueEntry.entry_type, RevenueEntry.amount)
        rows = await self.db.execute(select(*columns).where(RevenueEntry.entry_type.like("dispute%")))
        return sorted((row[0], row[1]) for row in rows)


@pytest.fixture
async def disputed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> Disputed:
    found = Disputed(client, db, database, alice, stripe_sandbox)
    await found.sell()
    return found


async def test_hold_when_a_dispute_comes_and_is_won(disputed: Disputed) -> None:
    """What staff has stopped stays stopped: only they let it go on."""
    await disputed.act("hold", reason="looks like fraud")
    await disputed.open()
    assert states(await disputed.read()) == ("confirmed", "disputed", "manual")
    await disputed.close("won")
    assert states(await disputed.read()) == ("confirmed", "paid", "manual")
    await disputed.act("release-hold", reason="it was none")
    assert states(await disputed.read()) == ("confirmed", "paid", None)


async def test_hold_when_it_is_released_during_a_dispute(disputed: Disputed) -> None:
    """The dispute holds the order from then on."""
    await disputed.act("hold", reason="looks like fraud")
    await disputed.open()
    await disputed.act("release-hold", reason="it was none")
    assert states(await disputed.read()) == ("confirmed", "disputed", "dispute")
    refused = await disputed.act("release-hold", 409, reason="again")
    assert refused["code"] == "hold_not_releasable"
    await disputed.close("won")
    assert states(await disputed.read()) == ("confirmed", "paid", None)


async def test_order_when_it_arrives_during_a_dispute_that_is_won(disputed: Disputed) -> None:
    """It is complete when the money is there again."""
    await disputed.act("ship")
    await disputed.open()
    await disputed.act("deliver")
    assert (await disputed.read())["completed_at"] is None
    await disputed.close("won")
    told = await disputed.read()
    assert (states(told), told["completed_at"] is not None) == (("delivered", "paid", None), True)
    kinds = await disputed.db.scalars(select(EventLog.type).where(EventLog.type == "order.completed"))
    assert len(kinds.all()) == 1


@pytest.mark.parametrize("amount", [12345, 0])
async def test_dispute_when_it_is_won_after_everything_went_back_and_it_was_lost(
    disputed: Disputed, amount: int
) -> None:
    """No move leads from there to refunded: the order stays charged back, and only the ledger tells."""
    await disputed.act("refunds", 201, amount=12345, reason="goodwill")
    await disputed.settle()
    order = (await disputed.db.scalars(select(Order))).one()
    payment = (await disputed.db.scalars(select(OrderPayment))).one()
    facts = {"id": "dp_1", "amount": amount, "currency": "eur"}
    for status, told in (("lost", 1), ("won", 0)):
        events = await apply_dispute(disputed.db, order, payment, {**facts, "status": status})
        assert (len(events or []), order.payment_status) == (told, "charged_back")
    await disputed.db.flush()
    moved = [("dispute", -amount), ("dispute_reversal", amount)] if amount else []
    assert await disputed.moved() == moved


async def test_dispute_when_it_is_won_after_it_was_lost(disputed: Disputed) -> None:
    """Banks decide anew, rarely: the money is there, and so the order is paid."""
    await disputed.open()
    await disputed.close("lost")
    assert states(await disputed.read()) == ("confirmed", "charged_back", "dispute")

    def reverse(state: State) -> None:
        state.objects[disputed.dispute["id"]]["status"] = "won"

    await disputed.stripe.sandbox.change(reverse)
    subject = {"id": disputed.dispute["id"], "object": "dispute"}
    await disputed.stripe.send(disputed.client, event_of("charge.dispute.funds_reinstated", subject))
    await disputed.settle()
    assert states(await disputed.read()) == ("confirmed", "paid", None)
    assert await disputed.moved() == [("dispute", -12345), ("dispute_reversal", 12345)]
    assert await report_money(disputed.db) == 0


@pytest.mark.commits
async def test_dispute_when_an_answer_is_older_than_the_decision(disputed: Disputed) -> None:
    """One job has asked before the dispute was won, and applies the answer afterwards."""
    await disputed.open()
    subject = {"id": disputed.dispute["id"], "object": "dispute"}
    with disputed.stripe.holding_back(f"/v1/disputes/{disputed.dispute['id']}") as held:
        late = asyncio.create_task(sync_object(disputed.database, "charge.dispute.updated", subject))
        await held.until(1)
        await disputed.close("won")
        assert not late.done()
        assert states(await disputed.read()) == ("confirmed", "paid", None)
    await late
    assert states(await disputed.read()) == ("confirmed", "paid", None)
    assert await disputed.moved() == [("dispute", -12345), ("dispute_reversal", 12345)]
