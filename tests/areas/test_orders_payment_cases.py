"""Every case of a payment that arrives for an order: in time, twice, late or wrong, told of in any order."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from httpx import AsyncClient
from pypdf import PdfReader
from sqlalchemy import func, select, update

from app.clients.stripe import StripeUnavailable
from app.clients.stripe.sandbox.state import State
from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.orders import expire_order
from app.models.billing import Invoice, RevenueEntry
from app.models.orders import DiscountCode, Order, OrderSettings
from app.models.products import Product
from app.models.realtime import EventLog
from app.models.stripe_webhooks import StripeEvent
from app.services.orders.verifying import report_money
from tests.areas.test_orders_pricing import make_code
from tests.factories.orders import order_body
from tests.factories.products import make_product
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_orders import act, control, pay, pay_other, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox


class Shop:
    """What a test of payments needs, in one place."""

    def __init__(
        self,
        client: AsyncClient,
        db: SystemSession,
        database: Database,
        alice: Persona,
        stripe: StripeSandbox,
    ) -> None:
        self.client, self.db, self.database, self.alice, self.stripe = client, db, database, alice, stripe

    async def product(self, stock: int = 5) -> Product:
        return await make_product(self.db, owner=self.alice, price=12345, stock=stock)

    async def order(self, product: Product, quantity: int = 1, **body: Any) -> dict[str, Any]:
        placed = await place(self.client, self.alice, product, quantity, **body)
        return {**placed, "organization": self.alice.organization_id}

    async def settle(self, **how: Any) -> None:
        await settle(self.client, self.stripe, self.database, **how)

    async def read(self, order: dict[str, Any]) -> dict[str, Any]:
        return await read(self.client, self.alice, order)

    async def act(self, order: dict[str, Any], name: str, expect: int = 200, **body: Any) -> dict[str, Any]:
        return await act(self.client, self.alice, order, name, expect, **body)

    async def expire(self, order: dict[str, Any]) -> None:
        """The order is not paid in time, and its page is over."""
        past = clock.now() - timedelta(minutes=1)
        await self.db.execute(
            update(Order).where(Order.id == order["id"]).values(reservation_expires_at=past)
        )
        await self.db.commit()
        await expire_order(
            self.database, organization_id=str(self.alice.organization_id), order_id=order["id"]
        )
        assert (await self.read(order))["status"] == "expired"

    async def policy(self, **settings: Any) -> None:
        self.db.add(OrderSettings(organization_id=self.alice.organization_id, **settings))
        await self.db.commit()

    async def stock(self, product: Product) -> tuple[int, int]:
        await self.db.refresh(product)
        return product.stock, product.reserved

    async def ledger(self) -> list[tuple[str, int, str]]:
        rows = await self.db.execute(
            select(RevenueEntry.entry_type, RevenueEntry.amount, RevenueEntry.currency)
            .where(RevenueEntry.entry_type != "fee")
            .order_by(RevenueEntry.id)
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def documents(self) -> list[str]:
        rows = await self.db.execute(select(Invoice.kind).order_by(Invoice.id))
        return list(rows.scalars())

    async def printed(self, order: dict[str, Any]) -> list[str]:
        """The lines of the invoice's PDF."""
        path = f"/api/orders/{order['id']}/invoice.pdf"
        answer = await self.client.get(path, headers=self.alice.headers)
        assert answer.status_code == 200, answer.text
        text = "".join(page.extract_text() for page in PdfReader(BytesIO(answer.content)).pages)
        return text.replace("\u00a0", " ").splitlines()

    async def disputes(self) -> list[str]:
        """How the disputes stood that were told of."""
        rows = await self.db.scalars(select(EventLog.body).where(EventLog.type == "order.disputed"))
        return [json.loads(body)["data"]["dispute"]["state"] for body in rows]

    async def told(self, kind: str) -> int:
        statement = select(func.count()).select_from(EventLog).where(EventLog.type == kind)
        return int(await self.db.scalar(statement) or 0)

    async def adds_up(self) -> None:
        assert await report_money(self.db) == 0


@pytest.fixture
def shop(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> Shop:
    return Shop(client, db, database, alice, stripe_sandbox)


async def test_payment_when_it_is_told_of_again_and_again(shop: Shop) -> None:
    """Rules 1 and 4."""
    product = await shop.product()
    order = await shop.order(product, 2)
    await pay(shop.stripe, order)
    await shop.settle(order="reverse", times=3)
    first = await shop.read(order)
    await shop.settle(order="shuffled", times=2, again=True)
    assert await shop.read(order) == first
    assert states(first) == ("confirmed", "paid", None)
    assert await shop.ledger() == [("charge", 24690, "EUR")]
    assert await shop.documents() == ["order"]
    assert await shop.told("order.paid") == 1
    assert await shop.stock(product) == (3, 0)
    fee = await shop.db.scalar(select(RevenueEntry.amount).where(RevenueEntry.entry_type == "fee"))
    assert fee == -395
    await shop.adds_up()


TABLES = re.compile(r"(?:FROM|UPDATE|JOIN) (orders|order_items|order_payments|refunds|stripe_commands)\b")


async def test_statements_when_a_payment_and_a_refund_are_applied(
    shop: Shop, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    """Whoever acts for nobody names the organisation: no statement looks through the orders of all."""
    order = await shop.order(await shop.product())
    session = await pay(shop.stripe, order)
    await shop.stripe.call("refunds.create", payment_intent=session["payment_intent"], amount=1000)
    await shop.stripe.deliver(shop.client)
    with statements() as seen:
        await handle_events(shop.database)
    about = [statement for statement in seen if TABLES.search(statement)]
    assert len(about) > 10
    assert [statement for statement in about if "organization_id = " not in statement] == []
    assert states(await shop.read(order)) == ("confirmed", "partially_refunded", None)


async def test_payment_when_the_order_is_paid_already(shop: Shop) -> None:
    """Rule 2: the second payment goes back by itself."""
    order = await shop.order(await shop.product())
    await pay(shop.stripe, order)
    await shop.settle()
    await pay_other(shop.stripe, order, 12345)
    await shop.settle(times=2)
    told = await shop.read(order)
    assert states(told) == ("confirmed", "paid", None)
    rows = [(row["status"], row["unapplied_reason"], row["amount_refunded"]) for row in told["payments"]]
    assert rows == [("applied", None, 0), ("unapplied", "duplicate", 12345)]
    (refund,) = told["refunds"]
    assert (refund["reason"], refund["source"], refund["status"]) == ("duplicate", "auto", "succeeded")
    assert [entry[:2] for entry in await shop.ledger()] == [
        ("charge", 12345),
        ("charge", 12345),
        ("refund", -12345),
    ]
    assert await shop.documents() == ["order"]
    await shop.adds_up()


async def test_payment_when_it_was_marked_paid_before(shop: Shop) -> None:
    """The page is closed with the receipt; whoever paid there first has it back."""
    order = await shop.order(await shop.product())
    await pay(shop.stripe, order)
    await shop.act(order, "mark-paid", method="cash", amount=12345)
    await shop.settle()
    told = await shop.read(order)
    assert [(row["method"], row["status"]) for row in told["payments"]] == [
        ("cash", "applied"),
        ("stripe", "unapplied"),
    ]
    assert [refund["status"] for refund in told["refunds"]] == ["succeeded"]
    await shop.adds_up()


async def test_payment_when_the_amount_is_another_and_is_accepted(shop: Shop) -> None:
    """Rule 3."""
    product = await shop.product()
    order = await shop.order(product)
    await pay_other(shop.stripe, order, 12000)
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == ("pending", "unpaid", "amount_mismatch")
    assert told["reservation_expires_at"] is None
    assert await shop.told("order.payment_held") == 1
    (payment,) = told["payments"]
    assert (payment["status"], payment["unapplied_reason"]) == ("unapplied", "amount_mismatch")
    assert (await shop.act(order, "release-hold", 409, reason="x"))["code"] == "payment_unresolved"
    assert (await shop.act(order, f"payments/{payment['id']}/accept", 422))["code"] == "validation_error"
    accepted = await shop.act(order, f"payments/{payment['id']}/accept", reason="Agreed.")
    assert (states(accepted), accepted["amount_paid"]) == (("confirmed", "paid", None), 12000)
    again = await shop.act(order, f"payments/{payment['id']}/accept", 409, reason="Agreed.")
    assert again["code"] == "payment_not_acceptable"
    assert await shop.stock(product) == (4, 0)
    assert await shop.documents() == ["order"]
    assert await shop.ledger() == [("charge", 12000, "EUR")]
    invoice = (await shop.db.scalars(select(Invoice))).one()
    assert (invoice.amount, invoice.amount_paid, invoice.amount_remaining) == (12345, 12000, 0)
    whole, paid = [line.strip() for line in await shop.printed(order) if line.endswith(" EUR")][-2:]
    assert (whole, paid) == ("123,45 EUR", "120,00 EUR")
    await shop.settle()
    await shop.adds_up()


async def test_payment_when_the_currency_is_another(shop: Shop) -> None:
    order = await shop.order(await shop.product())
    await pay_other(shop.stripe, order, 12345, "usd")
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == ("pending", "unpaid", "currency_mismatch")
    (payment,) = told["payments"]
    refused = await shop.act(order, f"payments/{payment['id']}/accept", 409, reason="Agreed.")
    assert refused["code"] == "payment_not_acceptable"
    asked = await shop.act(order, "refunds", 201, amount=12345, reason="other", payment_id=payment["id"])
    assert asked["status"] == "pending"
    await shop.settle()
    assert await shop.ledger() == [("charge", 12345, "USD"), ("refund", -12345, "USD")]
    released = await shop.act(order, "release-hold", reason="given back")
    assert (released["hold_reason"], released["reservation_expires_at"] is None) == (None, False)
    await shop.adds_up()


async def test_payment_when_the_order_has_expired_and_there_is_stock(shop: Shop) -> None:
    """Rule 6: the code that was given back stays given back."""
    product = await shop.product()
    code = await make_code(shop.db, shop.alice)
    order = await shop.order(product, discount_code=code.code)
    await shop.expire(order)
    assert await shop.stock(product) == (5, 0)
    await pay_other(shop.stripe, order, order["total_amount"])
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == ("confirmed", "paid", None)
    assert await shop.stock(product) == (4, 0)
    redeemed = select(DiscountCode.redeemed).execution_options(populate_existing=True)
    assert await shop.db.scalar(redeemed) == 0
    assert await shop.documents() == ["order"]


async def test_payment_when_the_stock_is_gone_and_money_goes_back(shop: Shop) -> None:
    """Rule 7."""
    product = await shop.product(stock=1)
    order = await shop.order(product)
    await shop.expire(order)
    await shop.order(product)
    await pay_other(shop.stripe, order, 12345)
    await shop.settle(times=2)
    told = await shop.read(order)
    assert states(told) == ("expired", "refunded", None)
    assert (told["amount_paid"], told["amount_refunded"], told["amount_refund_pending"]) == (12345, 12345, 0)
    assert [refund["reason"] for refund in told["refunds"]] == ["oversold"]
    assert await shop.told("order.oversold") == 1
    assert await shop.documents() == []
    assert [entry[:2] for entry in await shop.ledger()] == [("charge", 12345), ("refund", -12345)]
    assert await shop.stock(product) == (1, 1)
    await shop.adds_up()


async def test_payment_when_the_stock_is_gone_and_the_order_waits(shop: Shop) -> None:
    """Rule 8."""
    await shop.policy(oversold_policy="backorder")
    product = await shop.product(stock=1)
    order = await shop.order(product)
    await shop.expire(order)
    other = await shop.order(product)
    await pay_other(shop.stripe, order, 12345)
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == ("confirmed", "paid", "oversold")
    assert await shop.told("order.oversold") == 1
    assert (await shop.act(order, "release-hold", 409, reason="x"))["code"] == "insufficient_stock"
    await shop.act(other, "cancel")
    await shop.act(order, "release-hold", reason="in stock again")
    assert await shop.stock(product) == (0, 0)
    await shop.settle()
    await shop.adds_up()


async def test_payment_when_the_order_was_cancelled(shop: Shop) -> None:
    """Rule 9: the buyer paid while staff cancelled."""
    product = await shop.product()
    order = await shop.order(product)
    await pay(shop.stripe, order)
    await shop.act(order, "cancel", reason="out of business")
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == ("cancelled", "refunded", None)
    assert [refund["reason"] for refund in told["refunds"]] == ["order_closed"]
    assert await shop.documents() == []
    assert await shop.stock(product) == (5, 0)
    await shop.adds_up()


@pytest.mark.parametrize("name", ["expired", "cancelled"])
async def test_authorisation_when_the_order_has_no_use_for_it(shop: Shop, name: str) -> None:
    """Nothing was taken yet, so nothing is refunded: Stripe lets go of it."""
    product = await shop.product(stock=1)
    order = await shop.order(product)
    if name == "expired":
        await shop.expire(order)
        await shop.order(product)
    else:
        await shop.act(order, "cancel")
    intent = await pay_other(shop.stripe, order, 12345, capture_method="manual")
    await shop.settle()
    told = await shop.read(order)
    assert states(told) == (name, "unpaid", None)
    assert ([row["status"] for row in told["payments"]], told["refunds"]) == (["voided"], [])
    assert (await shop.stripe.object(intent["id"]))["status"] == "canceled"
    assert await shop.ledger() == []
    await shop.adds_up()


async def test_payment_when_the_buyer_pays_while_the_order_is_due(shop: Shop) -> None:
    """Expiry asks Stripe first: the page is complete, so the payment is applied and nothing released."""
    product = await shop.product()
    order = await shop.order(product)
    await pay(shop.stripe, order)
    past = clock.now() - timedelta(minutes=1)
    await shop.db.execute(update(Order).values(reservation_expires_at=past))
    await shop.db.commit()
    await expire_order(shop.database, organization_id=str(shop.alice.organization_id), order_id=order["id"])
    assert states(await shop.read(order)) == ("confirmed", "paid", None)
    await shop.settle()
    assert await shop.stock(product) == (4, 0)


async def test_expiry_when_stripe_does_not_answer(shop: Shop) -> None:
    product = await shop.product()
    order = await shop.order(product)
    past = clock.now() - timedelta(minutes=1)
    await shop.db.execute(update(Order).values(reservation_expires_at=past))
    await shop.db.commit()
    await control(shop.stripe, "faults", fault="http_503", times=3)
    arguments = {"organization_id": str(shop.alice.organization_id), "order_id": order["id"]}
    with pytest.raises(StripeUnavailable):
        await expire_order(shop.database, **arguments)
    assert (states(await shop.read(order)), await shop.stock(product)) == (
        ("pending", "unpaid", None),
        (5, 1),
    )
    await expire_order(shop.database, **arguments)
    assert (states(await shop.read(order)), await shop.stock(product)) == (
        ("expired", "unpaid", None),
        (5, 0),
    )
    session = await shop.stripe.object(order["stripe_checkout_session_id"])
    assert session["status"] == "expired"


async def test_expiry_when_stripe_does_not_know_the_page(shop: Shop) -> None:
    """Nobody can pay there: the stock goes back instead of waiting for ever."""
    product = await shop.product()
    order = await shop.order(product)
    await control(shop.stripe, "reset")
    await shop.expire(order)
    assert await shop.stock(product) == (5, 0)


async def test_payment_when_it_names_an_order_of_another_organisation(shop: Shop, charlie: Persona) -> None:
    """Whose the customer is decides, not what the metadata says."""
    order = await shop.order(await shop.product())
    await pay_other(shop.stripe, {**order, "organization": charlie.organization_id}, 12345)
    await shop.stripe.deliver(shop.client)
    await shop.settle(again=True)
    told = await shop.read(order)
    assert (states(told), told["payments"]) == (("pending", "unpaid", None), [])


async def test_payment_when_its_order_was_never_placed(shop: Shop) -> None:
    """A draft has neither number nor stock: staff looks at the money, and the draft stays one."""
    body = order_body((await shop.product(), 1), status="draft")
    answer = await shop.client.post("/api/orders", headers=shop.alice.headers, json=body)
    order = {**answer.json(), "organization": shop.alice.organization_id}
    intent = await pay_other(shop.stripe, order, 12345)
    await shop.settle(times=2)
    told = await shop.read(order)
    assert (states(told), told["payments"]) == (("draft", "unpaid", None), [])
    query = select(StripeEvent.last_error).where(
        StripeEvent.object_id == intent["id"], StripeEvent.status == "dead"
    )
    assert "order_not_placed" in str(await shop.db.scalar(query))
    gone = await shop.client.delete(f"/api/orders/{order['id']}", headers=shop.alice.headers)
    assert gone.status_code == 204


async def test_dispute_when_it_is_won_or_lost(shop: Shop) -> None:
    product = await shop.product()
    won, lost = [await shop.order(product) for _ in range(2)]
    disputes = []
    for order in (won, lost):
        await pay(shop.stripe, order)
        await shop.settle()
        intent = (await shop.read(order))["payments"][0]["stripe_payment_intent_id"]
        charge = (await shop.stripe.object(intent))["latest_charge"]
        disputes.append(await control(shop.stripe, "disputes", charge=charge))
    await shop.settle(order="shuffled", times=2)
    for order in (won, lost):
        told = await shop.read(order)
        assert states(told) == ("confirmed", "disputed", "dispute")
        assert (await shop.act(order, "refunds", 409, amount=5, reason="other"))["code"] == "order_disputed"
        assert (await shop.act(order, "release-hold", 409, reason="x"))["code"] == "hold_not_releasable"
        assert (await shop.act(order, "ship", 409))["code"] == "order_on_hold"
    await control(shop.stripe, f"disputes/{disputes[0]['id']}/close", outcome="won")
    await control(shop.stripe, f"disputes/{disputes[1]['id']}/close", outcome="lost")
    await shop.settle(order="shuffled", times=2)
    assert states(await shop.read(won)) == ("confirmed", "paid", None)
    assert states(await shop.read(lost)) == ("confirmed", "charged_back", "dispute")
    moved = sorted(entry[:2] for entry in await shop.ledger() if entry[0].startswith("dispute"))
    assert moved == [("dispute", -12345), ("dispute", -12345), ("dispute_reversal", 12345)]
    assert sorted(await shop.disputes()) == ["lost", "open", "open", "won"]
    await shop.adds_up()


async def test_dispute_when_it_is_a_question_only(shop: Shop) -> None:
    order = await shop.order(await shop.product())
    await pay(shop.stripe, order)
    await shop.settle()
    intent = (await shop.read(order))["payments"][0]["stripe_payment_intent_id"]
    charge = (await shop.stripe.object(intent))["latest_charge"]
    dispute = await control(shop.stripe, "disputes", charge=charge, warning=True)
    await shop.settle(times=2)
    await control(shop.stripe, f"disputes/{dispute['id']}/close", outcome="warning_closed")
    await shop.settle(times=2, order="reverse")
    await shop.settle(again=True)
    assert states(await shop.read(order)) == ("confirmed", "paid", None)
    assert [entry[0] for entry in await shop.ledger()] == ["charge"]
    assert await shop.disputes() == ["inquiry"]


@pytest.mark.parametrize(
    ("next_step", "is_paid"),
    [("display_bank_transfer_instructions", True), ("verify_with_microdeposits", False)],
)
async def test_payment_when_the_buyer_has_to_do_something_later(
    shop: Shop, next_step: str, is_paid: bool
) -> None:
    """The page is complete, the money comes days later: by a transfer, or once an account is confirmed.

    The sandbox plays debits alone, so its debit is dressed as a transfer while nobody has paid it.
    """
    product = await shop.product()
    order = await shop.order(product)
    session = await pay(shop.stripe, order, "sepa" if is_paid else "sepa_fails")

    def dress(state: State) -> None:
        intent = state.objects[session["payment_intent"]]
        intent.update(status="requires_action", next_action={"type": next_step, next_step: {}})
        state.emit("payment_intent.requires_action", intent)

    def undress(state: State) -> None:
        state.objects[session["payment_intent"]].update(status="processing", next_action=None)

    await shop.stripe.sandbox.change(dress)
    await shop.settle(order="reverse", times=2)
    told = await shop.read(order)
    assert (states(told), told["reservation_expires_at"]) == (("pending", "pending", None), None)
    assert told["payment_failure_code"] is None
    assert await shop.stock(product) == (5, 1)
    await shop.stripe.sandbox.change(undress)
    await control(shop.stripe, "clock", advance="P6D")
    await shop.settle()
    told = await shop.read(order)
    paid = ("confirmed", "paid", None)
    assert states(told) == (paid if is_paid else ("pending", "failed", None))
    assert (told["reservation_expires_at"] is None) is is_paid
