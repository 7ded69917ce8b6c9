"""Refunds that Stripe carries out: asked for, confirmed, refused, failed later, and made elsewhere."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.stripe import StripeUnavailable
from app.clients.stripe.sandbox.state import Object
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.billing import Invoice, RevenueEntry
from app.services.orders.verifying import report_money
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_orders import act, control, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox


class Paid:
    """An order of three pieces at 41.15 that was paid by card, and what a test of its refunds needs."""

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
        product = await make_product(self.db, owner=self.alice, price=4115, stock=9)
        self.order = await place(self.client, self.alice, product, 3)
        await pay(self.stripe, self.order)
        await self.settle()
        self.order = await self.read()
        assert self.order["payment_status"] == "paid"

    @property
    def intent(self) -> str:
        return str(self.order["payments"][0]["stripe_payment_intent_id"])

    async def settle(self, **how: Any) -> None:
        await settle(self.client, self.stripe, self.database, **how)

    async def read(self) -> dict[str, Any]:
        return await read(self.client, self.alice, self.order)

    async def refund(self, expect: int = 201, **body: Any) -> dict[str, Any]:
        return await act(
            self.client, self.alice, self.order, "refunds", expect, **{"reason": "other", **body}
        )

    async def sums(self) -> tuple[str, int, int]:
        told = await self.read()
        return told["payment_status"], told["amount_refunded"], told["amount_refund_pending"]

    async def ledger(self) -> list[tuple[str, int]]:
        rows = await self.db.execute(
            select(RevenueEntry.entry_type, RevenueEntry.amount)
            .where(RevenueEntry.entry_type.like("refund%"))
            .order_by(RevenueEntry.id)
        )
        return [(row[0], row[1]) for row in rows]

    async def notes(self) -> list[int]:
        rows = await self.db.execute(select(Invoice.amount).where(Invoice.kind == "credit_note"))
        return list(rows.scalars())

    async def at_stripe(self) -> list[Object]:
        return [found async for found in self.stripe.client.pages("refunds.list")]


@pytest.fixture
async def paid(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> Paid:
    made = Paid(client, db, database, alice, stripe_sandbox)
    await made.prepare()
    return made


async def test_refund_when_stripe_confirms_it(paid: Paid) -> None:
    item = paid.order["order_items"][0]
    asked = await paid.refund(lines=[{"item_id": item["id"], "quantity": 1}], reason="requested_by_customer")
    assert (asked["status"], asked["amount"], asked["source"]) == ("pending", 4115, "api")
    assert await paid.sums() == ("paid", 0, 4115)
    assert (await paid.ledger(), await paid.notes()) == ([], [])
    await paid.settle(order="shuffled", times=3)
    assert await paid.sums() == ("partially_refunded", 4115, 0)
    (found,) = await paid.at_stripe()
    assert (found["amount"], found["metadata"]["refund_id"]) == (4115, asked["id"])
    assert (await paid.ledger(), await paid.notes()) == ([("refund", -4115)], [4115])
    await paid.refund(amount=8230)
    await paid.settle()
    assert await paid.sums() == ("refunded", 12345, 0)
    assert (await paid.refund(422, amount=1))["refundable"] == 0
    assert await report_money(paid.db) == 0


async def test_refund_when_the_bank_returns_it(paid: Paid) -> None:
    """The tenth worked example of the page on money."""
    item = paid.order["order_items"][0]
    asked = await paid.refund(lines=[{"item_id": item["id"], "quantity": 1}], amount=2345)
    await paid.settle()
    assert await paid.sums() == ("partially_refunded", 2345, 0)
    (found,) = await paid.at_stripe()
    await control(paid.stripe, f"refunds/{found['id']}/fail")
    await paid.settle(times=2)
    assert await paid.sums() == ("paid", 0, 0)
    assert await paid.ledger() == [("refund", -2345), ("refund_reversal", 2345)]
    told = await paid.read()
    assert [(row["id"], row["status"], row["failure_reason"]) for row in told["refunds"]] == [
        (asked["id"], "failed", "expired_or_canceled_card")
    ]
    line = told["order_items"][0]
    assert (line["refunded_quantity"], line["refunded_amount"]) == (0, 0)
    await paid.settle(order="shuffled", again=True)
    assert await paid.sums() == ("paid", 0, 0)
    assert await report_money(paid.db) == 0


async def test_credit_notes_when_returned_refunds_are_made_again(paid: Paid) -> None:
    """What was credited once is not credited again when its money goes back a second time."""
    for _ in range(2):
        await paid.refund(amount=2345)
        await paid.settle()
    assert await paid.notes() == [2345, 2345]
    for found in await paid.at_stripe():
        await control(paid.stripe, f"refunds/{found['id']}/fail")
    await paid.settle()
    assert await paid.sums() == ("paid", 0, 0)
    for amount in (2345, 2345, 2345, 100):
        await paid.refund(amount=amount)
        await paid.settle()
    assert sorted(await paid.notes()) == [100, 2345, 2345, 2345]
    assert await paid.sums() == ("partially_refunded", 7135, 0)
    entries = select(RevenueEntry.invoice_id).where(RevenueEntry.entry_type == "refund")
    first, second, *again = (await paid.db.scalars(entries.order_by(RevenueEntry.id))).all()
    assert (again[:2], len(set(again))) == ([first, second], 4)
    assert await report_money(paid.db) == 0


async def test_refund_when_it_was_given_up_and_stripe_has_made_it(
    paid: Paid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer ever came, so the amounts were given back; then Stripe tells of the refund."""
    answer = paid.stripe.client.call

    async def lose_answer(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        made = await answer(operation, *ids, **options)
        if operation == "refunds.create":
            raise StripeUnavailable("no answer")
        return made

    monkeypatch.setattr(get_settings(), "stripe_event_max_attempts", 1)
    with monkeypatch.context() as patch:
        patch.setattr(paid.stripe.client, "call", lose_answer)
        await paid.refund(amount=2345)
        await handle_events(paid.database)
    assert await paid.sums() == ("paid", 0, 0)
    await paid.settle(times=2)
    assert await paid.sums() == ("partially_refunded", 2345, 0)
    told = sorted((row["source"], row["status"]) for row in (await paid.read())["refunds"])
    assert told == [("api", "failed"), ("stripe", "succeeded")]
    assert (await paid.ledger(), await paid.notes()) == ([("refund", -2345)], [2345])
    (found,) = await paid.at_stripe()
    await control(paid.stripe, f"refunds/{found['id']}/fail")
    await paid.settle(times=2)
    assert await paid.sums() == ("paid", 0, 0)
    assert await report_money(paid.db) == 0


async def test_refund_when_it_is_made_in_the_dashboard(paid: Paid) -> None:
    await paid.stripe.call("refunds.create", payment_intent=paid.intent, amount=345, reason="fraudulent")
    await paid.settle(order="reverse", times=2)
    assert await paid.sums() == ("partially_refunded", 345, 0)
    (refund,) = (await paid.read())["refunds"]
    assert (refund["source"], refund["reason"], refund["status"]) == ("stripe", "fraudulent", "succeeded")
    assert (await paid.ledger(), await paid.notes()) == ([("refund", -345)], [345])
    assert await report_money(paid.db) == 0


async def test_refund_when_the_dashboard_was_faster(paid: Paid) -> None:
    """Ours is refused, its amounts are given back, and what was given back there is imported."""
    item = paid.order["order_items"][0]
    await paid.refund(lines=[{"item_id": item["id"], "quantity": 3}])
    await paid.stripe.call("refunds.create", payment_intent=paid.intent)
    await paid.settle()
    assert await paid.sums() == ("refunded", 12345, 0)
    told = await paid.read()
    assert sorted((row["source"], row["status"]) for row in told["refunds"]) == [
        ("api", "failed"),
        ("stripe", "succeeded"),
    ]
    assert told["order_items"][0]["refunded_quantity"] == 0
    assert await paid.ledger() == [("refund", -12345)]
    assert await report_money(paid.db) == 0


async def test_automatic_refund_when_it_fails(paid: Paid) -> None:
    """Nobody asked for it, so the order is held until somebody looks."""
    metadata = {"organization_id": str(paid.alice.organization_id), "order_id": paid.order["id"]}
    await paid.stripe.call(
        "payment_intents.create",
        amount=12345,
        currency="eur",
        payment_method="pm_card_visa",
        confirm=True,
        metadata=metadata,
    )
    await paid.settle()
    (found,) = await paid.at_stripe()
    await control(paid.stripe, f"refunds/{found['id']}/fail")
    await paid.settle()
    assert states(await paid.read()) == ("confirmed", "paid", "refund_failed")
    assert await paid.sums() == ("paid", 0, 0)
    assert await report_money(paid.db) == 0


async def test_cancel_when_the_order_was_paid_by_card(paid: Paid) -> None:
    told = await act(paid.client, paid.alice, paid.order, "cancel", reason="out of stock")
    assert (states(told), told["amount_refund_pending"]) == (("cancelled", "paid", None), 12345)
    await paid.settle()
    assert states(await paid.read()) == ("cancelled", "refunded", None)
    assert (await paid.ledger(), await paid.notes()) == ([("refund", -12345)], [12345])
    assert await report_money(paid.db) == 0
