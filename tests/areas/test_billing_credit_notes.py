"""Credit notes, refunds and disputes of subscriptions: one mirror, one entry, and books that agree."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.database import Database, SystemSession
from app.models.billing import Invoice, InvoiceLine, RevenueEntry
from app.models.stripe_webhooks import StripeEvent
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

PRICE = 4700


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def paid_invoice(shop: Shop) -> dict[str, Any]:
    (found,) = (await shop.stripe.call("invoices.list", expand=["data.payments"]))["data"]
    return dict(found)


def intent_of(invoice: dict[str, Any]) -> str:
    return str(invoice["payments"]["data"][0]["payment"]["payment_intent"])


async def entries(db: SystemSession) -> list[tuple[str, int, str]]:
    """Type, amount and account of every entry but the charge."""
    statement = select(RevenueEntry.entry_type, RevenueEntry.amount, RevenueEntry.account)
    found = await db.execute(statement.where(RevenueEntry.entry_type != "charge"))
    return sorted((row[0], row[1], row[2]) for row in found)


async def assert_books_agree(shop: Shop, db: SystemSession) -> None:
    """The ledger says what Stripe has kept: what was paid, less what succeeded as a refund."""
    invoices = (await shop.stripe.call("invoices.list", limit=100))["data"]
    refunds = (await shop.stripe.call("refunds.list", limit=100))["data"]
    kept = sum(invoice["amount_paid"] for invoice in invoices)
    kept -= sum(refund["amount"] for refund in refunds if refund["status"] == "succeeded")
    assert await db.scalar(select(func.sum(RevenueEntry.amount))) == kept
    notes = (await shop.stripe.call("credit_notes.list"))["data"]
    rows = await db.execute(
        select(Invoice.stripe_invoice_id, Invoice.amount, Invoice.invoice_number).where(
            Invoice.kind == "credit_note"
        )
    )
    assert {row[0]: (row[1], row[2]) for row in rows} == {
        note["id"]: (note["total"], note["number"]) for note in notes
    }


async def test_credit_note_when_money_goes_back(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    invoice = await paid_invoice(shop)
    note = await shop.stripe.call(
        "credit_notes.create", invoice=invoice["id"], amount=1700, refund_amount=1700, reason="duplicate"
    )
    await shop.stripe.deliver(shop.client, order="reverse", times=3)
    await shop.process()
    await shop.settle()
    row = (await db.scalars(select(Invoice).where(Invoice.kind == "credit_note"))).one()
    credited = await db.get_one(Invoice, (alice.organization_id, row.credited_invoice_id))
    assert credited.stripe_invoice_id == invoice["id"]
    assert (row.status, row.amount, row.currency, row.invoice_number) == ("paid", 1700, "EUR", note["number"])
    assert (row.plan_name, row.parties["credited_number"]) == ("Premium", credited.invoice_number)
    total = select(func.sum(InvoiceLine.total_amount)).where(InvoiceLine.invoice_id == row.id)
    assert await db.scalar(total) == 1700
    assert await entries(db) == [("refund", -1700, "platform")]
    await assert_books_agree(shop, db)
    assert set(await db.scalars(select(StripeEvent.status).distinct())) == {"done", "skipped"}
    shown = await shop.client.get("/api/billing/invoices?kind=credit_note", headers=alice.headers)
    (item,) = shown.json()["items"]
    assert (item["id"], item["payment_state"]) == (str(row.id), "paid")
    printed = await shop.client.get(f"/api/billing/invoices/{row.id}/pdf", headers=alice.headers)
    assert printed.content.startswith(b"%PDF")
    # Whatever is delivered again changes nothing.
    await shop.stripe.deliver(shop.client, again=True)
    await shop.settle()
    assert await entries(db) == [("refund", -1700, "platform")]


@pytest.mark.parametrize(
    ("how", "entry"), [("credit_amount", []), ("out_of_band_amount", [("refund", -900, "platform")])]
)
async def test_credit_note_when_no_card_gets_it_back(
    shop: Shop, alice: Persona, db: SystemSession, how: str, entry: list[Any]
) -> None:
    await shop.buy(alice)
    invoice = await paid_invoice(shop)
    await shop.stripe.call("credit_notes.create", invoice=invoice["id"], amount=900, **{how: 900})
    await shop.settle()
    assert await entries(db) == entry
    assert await db.scalar(select(func.count()).where(Invoice.kind == "credit_note")) == 1


async def test_refund_when_an_operator_makes_it_at_stripe_and_it_fails(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    await shop.buy(alice)
    intent = intent_of(await paid_invoice(shop))
    refund = await shop.stripe.call("refunds.create", payment_intent=intent, amount=700)
    await shop.settle()
    assert await entries(db) == [("refund", -700, "platform")]
    await assert_books_agree(shop, db)
    await shop.stripe.control(f"refunds/{refund['id']}/fail")
    await shop.settle()
    assert await entries(db) == [("refund", -700, "platform"), ("refund_reversal", 700, "platform")]
    await assert_books_agree(shop, db)


async def test_refund_when_its_news_comes_before_that_of_the_payment(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    answer = await shop.checkout(alice)
    await shop.pay(answer.json()["session_id"])
    intent = intent_of(await paid_invoice(shop))
    await shop.stripe.call("refunds.create", payment_intent=intent, amount=700)
    await shop.stripe.deliver(shop.client, "charge.refunded")
    await shop.process()
    assert await entries(db) == [("refund", -700, "platform")]
    await shop.settle()
    assert await entries(db) == [("refund", -700, "platform")]
    await assert_books_agree(shop, db)


@pytest.mark.parametrize(
    ("outcome", "moved"),
    [
        ("lost", [("dispute", -PRICE, "platform")]),
        ("won", [("dispute", -PRICE, "platform"), ("dispute_reversal", PRICE, "platform")]),
    ],
)
async def test_dispute_when_a_bank_takes_a_subscription_back(
    shop: Shop, alice: Persona, db: SystemSession, outcome: str, moved: list[Any]
) -> None:
    await shop.buy(alice)
    intent = await shop.stripe.call("payment_intents.retrieve", intent_of(await paid_invoice(shop)))
    dispute = await shop.stripe.control("disputes", charge=intent["latest_charge"])
    await shop.settle()
    assert await entries(db) == [("dispute", -PRICE, "platform")]
    await shop.stripe.control(f"disputes/{dispute['id']}/close", outcome=outcome)
    await shop.stripe.deliver(shop.client, order="reverse", times=2)
    await shop.settle()
    assert await entries(db) == moved
