"""The books of orders: invoices, credit notes and the ledger, to the last unit and without gaps."""

import asyncio
import random
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import Executable, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.billing import DocumentCounter, Invoice, InvoiceLine, RevenueEntry
from app.models.orders import Order, OrderPayment, OrderSettings, Refund
from app.schemas.orders import ManualPayment
from app.services.billing.ledger import record
from app.services.billing.order_invoices import credit_refund, invoice_order
from app.services.orders.payment import OrderPaymentService
from tests.areas.test_orders_refunds import example_two, make_paid, refund, units
from tests.factories.billing import grant_plan
from tests.factories.orders import make_order, make_payment, make_refund, order_body, place_order
from tests.factories.products import make_product
from tests.support.personas import Persona


async def documents(db: SystemSession, kind: str) -> list[Invoice]:
    statement = select(Invoice).where(Invoice.kind == kind).order_by(Invoice.invoice_number)
    return list(await db.scalars(statement))


async def lines_of(db: SystemSession, invoice: Invoice) -> list[InvoiceLine]:
    statement = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    return list(await db.scalars(statement))


async def ledger_of(db: SystemSession) -> list[tuple[str, int, str]]:
    """Kinds, amounts and causes of the entries, the oldest first."""
    statement = select(RevenueEntry).order_by(RevenueEntry.created_at, RevenueEntry.id)
    return [(row.entry_type, row.amount, row.source_ref) for row in await db.scalars(statement)]


async def test_documents_when_an_order_is_paid_and_refunded(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The second worked example of the page on money, in the books."""
    seller = {"name": "Maison Aurore SAS", "country": "FR", "vat_number": "FR12345678901"}
    db.add(OrderSettings(organization_id=alice.organization_id, seller=seller, invoice_prefix="INV"))
    await db.commit()
    order = await example_two(client, db, alice)
    (invoice,) = await documents(db, "order")
    assert invoice.invoice_number is not None
    year = invoice.invoice_number[4:8]
    assert invoice.invoice_number == f"INV-{year}-000001"
    assert (invoice.subtotal, invoice.tax, invoice.amount, invoice.amount_paid) == (20069, 2834, 22903, 22903)
    assert (invoice.status, invoice.amount_remaining, str(invoice.order_id)) == ("paid", 0, order["id"])
    assert invoice.tax_groups == order["pricing"]["tax_groups"]
    assert invoice.parties["seller"] == seller
    assert invoice.parties["buyer"] == {
        "name": "Anna Martin",
        "line1": "12 rue des Lilas",
        "postal_code": "75011",
        "city": "Paris",
        "country": "FR",
    }
    lines = await lines_of(db, invoice)
    assert [(line.quantity, line.total_amount, line.tax_amount) for line in lines] == [
        (1, 11816, 1969),
        (3, 8585, 448),
        (2, 1912, 319),
        (1, 590, 98),
    ]
    assert lines[-1].description == "Home"
    jam = order["order_items"][1]
    await refund(client, alice, order, lines=[units(jam)])
    await refund(client, alice, order, amount=1000)
    first, second = await documents(db, "credit_note")
    assert [note.invoice_number for note in (first, second)] == [f"AV-{year}-{n:06}" for n in (1, 2)]
    assert {note.credited_invoice_id for note in (first, second)} == {invoice.id}
    assert (first.amount, first.tax, first.subtotal) == (2862, 149, 2713)
    assert [(line.total_amount, line.tax_amount) for line in await lines_of(db, first)] == [(2862, 149)]
    assert second.amount == sum(line.total_amount for line in await lines_of(db, second)) == 1000
    assert second.tax == sum(group["tax_amount"] for group in second.tax_groups)
    payment_id = await db.scalar(select(OrderPayment.id))
    assert await ledger_of(db) == [
        ("charge", 22903, str(payment_id)),
        ("refund", -2862, str(first.refund_id)),
        ("refund", -1000, str(second.refund_id)),
    ]
    told = select(EventOutbox.type).where(EventOutbox.type.like("invoice.%")).order_by(EventOutbox.id)
    assert list(await db.scalars(told)) == ["invoice.created", "invoice.paid", *["invoice.created"] * 2]


async def test_documents_when_an_order_costs_nothing(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """There is an invoice of nothing, and no movement of money; neither is there one of its cancellation."""
    product = await make_product(db, owner=alice, price=0, stock=5)
    order = await place_order(client, alice, product)
    (invoice,) = await documents(db, "order")
    assert (invoice.amount, str(invoice.order_id)) == (0, order["id"])
    cancelled = await client.post(f"/api/orders/{order['id']}/cancel", headers=alice.headers, json={})
    assert cancelled.status_code == 200
    assert await documents(db, "credit_note") == []
    assert await ledger_of(db) == []


@pytest.mark.slow
async def test_books_when_two_hundred_orders_are_paid_and_refunded_at_random(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("create", "write", "refund"):
        monkeypatch.setattr(get_settings(), f"limit_orders_{name}", "9999/1m")
    monkeypatch.setattr(get_settings(), "limit_session", "9999/1m")
    await grant_plan(db, alice.organization_id, "enterprise")
    dice = random.Random(20)
    shelf = [await make_product(db, owner=alice, price=dice.randint(1, 99_999), stock=9999) for _ in range(9)]
    for _ in range(200):
        basket = [(product, dice.randint(1, 4)) for product in dice.sample(shelf, dice.randint(1, 3))]
        order = await make_paid(client, alice, *basket)
        left = order["total_amount"]
        for item in dice.sample(order["order_items"], dice.randint(0, len(order["order_items"]))):
            answer = await refund(
                client, alice, order, lines=[units(item, dice.randint(1, item["quantity"]))]
            )
            left -= answer["amount"]
        if left and dice.random() < 0.5:
            await refund(client, alice, order, amount=dice.randint(1, left))
    paid = await db.scalar(select(func.sum(OrderPayment.amount)))
    returned = await db.scalar(select(func.sum(Refund.amount)))
    by_type = select(RevenueEntry.entry_type, func.sum(RevenueEntry.amount)).group_by(RevenueEntry.entry_type)
    sums: dict[str, int] = {row[0]: row[1] for row in await db.execute(by_type)}
    assert paid is not None
    assert returned is not None
    assert sums == {"charge": paid, "refund": -returned}
    assert await db.scalar(select(func.sum(OrderPayment.amount_refunded))) == returned
    by_kind = select(Invoice.kind, func.sum(Invoice.amount)).group_by(Invoice.kind)
    billed: dict[str, int] = {row[0]: row[1] for row in await db.execute(by_kind)}
    assert billed == {"order": paid, "credit_note": returned}
    await each_document_adds_up(db)


async def each_document_adds_up(db: SystemSession) -> None:
    """Lines, tax groups and sums of every document agree, and a whole refund credits its whole tax."""
    totals = await db.execute(
        select(
            InvoiceLine.invoice_id, func.sum(InvoiceLine.total_amount), func.sum(InvoiceLine.tax_amount)
        ).group_by(InvoiceLine.invoice_id)
    )
    lines = {invoice_id: (total, tax) for invoice_id, total, tax in totals}
    credited: Counter[UUID] = Counter()
    taxes: Counter[UUID] = Counter()
    invoices = {row.id: row for kind in ("order", "credit_note") for row in await documents(db, kind)}
    for row in invoices.values():
        assert lines[row.id] == (row.amount, row.tax)
        groups = row.tax_groups
        assert sum(group["gross_amount"] for group in groups) == row.amount
        assert sum(group["tax_amount"] for group in groups) == row.tax == row.amount - row.subtotal
        if row.credited_invoice_id is not None:
            credited[row.credited_invoice_id] += row.amount
            taxes[row.credited_invoice_id] += row.tax
    whole = [invoice_id for invoice_id, amount in credited.items() if amount == invoices[invoice_id].amount]
    assert len(whole) > 5
    assert all(taxes[invoice_id] == invoices[invoice_id].tax for invoice_id in whole)


class GivenUpError(Exception):
    """What stops a payment after its number was taken."""


@pytest.mark.commits
async def test_numbers_when_fifty_payments_race_and_some_are_rolled_back(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    orders = [await make_order(db, owner=alice, status="pending") for _ in range(50)]

    async def pay(order: Order, is_given_up: bool) -> bool:
        body = ManualPayment(method="cash", amount=order.total_amount)
        try:
            async with database.acting(alice.principal) as session:
                await OrderPaymentService(session, alice.principal).mark_paid(str(order.id), body, None)
                if is_given_up:
                    raise GivenUpError
        except GivenUpError:
            return False
        return True

    outcomes = await asyncio.gather(*(pay(order, n % 3 == 0) for n, order in enumerate(orders)))
    assert sum(outcomes) == 33
    numbers = [str(row.invoice_number) for row in await documents(db, "order")]
    assert [int(number[-6:]) for number in numbers] == list(range(1, 34))
    assert await db.scalar(select(DocumentCounter.last_value).where(DocumentCounter.kind == "invoice")) == 33
    assert len(await ledger_of(db)) == 33


async def test_documents_when_they_are_asked_for_twice(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Whoever hears of a payment again, gets the document that is there, and takes no number."""
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await make_paid(client, alice, (product, 1))
    answer = await refund(client, alice, order, amount=10)
    row = await db.get_one(Order, (alice.organization_id, UUID(order["id"])))
    back = await db.get_one(Refund, (alice.organization_id, UUID(answer["id"])))
    assert (await invoice_order(db, row)).id == (await documents(db, "order"))[0].id
    note = await credit_refund(db, back)
    assert note is not None
    assert [note.id] == [one.id for one in await documents(db, "credit_note")]
    values = await db.scalars(select(DocumentCounter.last_value).where(DocumentCounter.kind != "order"))
    assert list(values) == [1, 1]


async def test_credit_note_when_there_is_no_invoice(db: SystemSession, alice: Persona) -> None:
    """Of an order from before invoices, and of money that was never applied, nothing is credited."""
    order = await make_order(db, owner=alice, status="delivered")
    assert await credit_refund(db, await make_refund(db, order=order)) is None
    await invoice_order(db, order)
    doubled = await make_payment(db, order=order, status="unapplied", unapplied_reason="duplicate")
    back = await make_refund(db, order=order)
    back.payment_id = doubled.id
    assert await credit_refund(db, back) is None


async def test_entry_when_the_same_movement_comes_again(
    db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    movement: dict[str, Any] = {
        "source": "order",
        "account": "merchant",
        "entry_type": "charge",
        "amount": 100,
        "currency": "EUR",
        "source_ref": "pi_1",
        "recorded_at": await db.now(),
    }
    assert await record(db, alice.organization_id, **movement)
    assert not await record(db, alice.organization_id, **{**movement, "amount": 999})
    assert await record(db, alice.organization_id, **{**movement, "entry_type": "refund", "amount": -100})
    assert await record(db, charlie.organization_id, **movement)
    with pytest.raises(IntegrityError):
        await record(db, alice.organization_id, **{**movement, "account": "platform", "source_ref": "pi_2"})


def line_of(invoice: Invoice, position: int) -> dict[str, Any]:
    return {
        "organization_id": invoice.organization_id,
        "invoice_id": invoice.id,
        "position": position,
        "description": "one more",
        "quantity": 1,
        "unit_amount": 1,
        "total_amount": 1,
    }


async def test_final_rows_when_somebody_changes_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await make_paid(client, alice, (product, 1))
    await refund(client, alice, order, amount=10)
    (invoice,) = await documents(db, "order")
    refused: list[Executable] = [
        update(RevenueEntry).values(amount=RevenueEntry.amount + 1),
        delete(RevenueEntry),
        update(Invoice).values(amount=Invoice.amount + 1),
        update(Invoice).where(Invoice.kind == "credit_note").values(status="void"),
        update(Invoice).values(parties={}),
        delete(Invoice),
        update(InvoiceLine).values(description="another"),
        delete(InvoiceLine),
        insert(InvoiceLine).values(line_of(invoice, 7)),
    ]
    for statement in refused:
        with pytest.raises(IntegrityError):
            async with db.begin_nested():
                await db.execute(statement)
    async with db.begin_nested():
        await db.execute(update(Invoice).values(pdf_file_id=uuid7()))
    assert await db.scalar(select(func.sum(RevenueEntry.amount))) == 990


async def test_draft_when_it_changes_and_goes(db: SystemSession, alice: Persona) -> None:
    """A mirror's draft is nobody's document yet; a final one keeps its number and amounts, not its status."""
    mirror = Invoice(
        organization_id=alice.organization_id,
        id=uuid7(),
        kind="subscription",
        status="draft",
        currency="EUR",
        subtotal=4700,
        amount=4700,
        stripe_invoice_id="in_1",
    )
    db.add(mirror)
    await db.commit()
    await db.execute(insert(InvoiceLine).values(line_of(mirror, 0)))
    await db.execute(update(Invoice).values(amount=5000, subtotal=5000))
    await db.execute(update(Invoice).values(status="open", invoice_number="L-1"))
    await db.execute(update(Invoice).values(status="paid", amount_paid=5000))
    for statement in (update(Invoice).values(amount=1), delete(Invoice)):
        with pytest.raises(IntegrityError):
            async with db.begin_nested():
                await db.execute(statement)


async def test_payment_when_its_amount_is_another(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """What cannot be paid issues nothing."""
    product = await make_product(db, owner=alice, price=1000, stock=5)
    answer = await client.post("/api/orders", headers=alice.headers, json=order_body((product, 1)))
    path = f"/api/orders/{answer.json()['id']}/mark-paid"
    short = await client.post(path, headers=alice.headers, json={"method": "cash", "amount": 999})
    assert short.status_code == 422
    assert await documents(db, "order") == []
    assert await ledger_of(db) == []
