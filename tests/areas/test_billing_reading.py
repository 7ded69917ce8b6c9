"""Invoices, their PDFs, usage and revenue over HTTP; strangers see nothing of it."""

import asyncio
from io import BytesIO
from typing import Any

import pytest
from httpx import AsyncClient
from pypdf import PdfReader
from sqlalchemy import func, select, update

from app.clients.storage.opening import object_store
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import Invoice, UsageEvent
from app.models.files import StoredFile
from app.models.orders import OrderSettings
from tests.areas.test_billing_usage import limit_renders
from tests.areas.test_orders_refunds import example_two, make_paid, refund, units
from tests.factories.orders import place_order
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague


async def get(client: AsyncClient, persona: Persona, path: str, expect: int = 200) -> Any:
    answer = await client.get(path, headers=persona.headers)
    assert answer.status_code == expect, answer.text
    return answer.json()


def words(pdf: bytes) -> str:
    """The text of a PDF with plain spaces."""
    pages = PdfReader(BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages).replace("\u00a0", " ")


async def test_invoice_when_it_is_read_and_printed(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    """In French for a seller in France; the file is kept, and printed again when it is lost."""
    seller = {"name": "Maison Aurore SAS", "country": "FR", "vat_number": "FR12345678901"}
    db.add(OrderSettings(organization_id=alice.organization_id, seller=seller))
    await db.commit()
    order = await example_two(client, db, alice)
    (item,) = (await get(client, alice, "/api/billing/invoices"))["items"]
    assert (item["kind"], item["status"], item["payment_state"]) == ("order", "paid", "paid")
    assert (item["subtotal"], item["tax"], item["amount"]) == (20069, 2834, 22903)
    detail = await get(client, alice, f"/api/billing/invoices/{item['id']}")
    assert [line["total_amount"] for line in detail["lines"]] == [11816, 8585, 1912, 590]
    assert [group["tax_amount"] for group in detail["tax_groups"]] == [448, 2386]
    path = item["pdf_url"].removeprefix("http://api.luneo.test")
    first = await client.get(path, headers=alice.headers)
    assert (first.status_code, first.headers["content-type"]) == (200, "application/pdf")
    assert first.headers["content-disposition"] == f'attachment; filename="{item["invoice_number"]}.pdf"'
    text = words(first.content)
    for wanted in (
        "Facture",
        item["invoice_number"],
        order["order_number"],
        "Maison Aurore SAS",
        "FR12345678901",
        "Anna Martin",
        "123,45 EUR",
        "229,03 EUR",
        "5,5 %",
        "81,37 EUR",
        "23,86 EUR",
        "200,69 EUR",
        "28,34 EUR",
    ):
        assert wanted in text, (wanted, text)
    (file,) = await db.scalars(select(StoredFile).where(StoredFile.bucket == "documents"))
    again = await client.get(f"/api/orders/{order['order_number']}/invoice.pdf", headers=bob.headers)
    assert again.content == first.content
    assert await db.scalar(select(func.count()).select_from(StoredFile)) == 1
    await object_store().delete(file.storage_key)
    assert (await client.get(path, headers=alice.headers)).content == first.content
    assert await object_store().stat(file.storage_key) == len(first.content)
    part = await client.get(path, headers={**alice.headers, "Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"%PDF")
    for hidden in (f"/api/billing/invoices/{item['id']}", path, f"/api/orders/{order['id']}/invoice.pdf"):
        await get(client, charlie, hidden, 404)
    assert (await get(client, charlie, "/api/billing/invoices"))["items"] == []
    await get(client, bob, "/api/billing/invoices", 403)


async def test_credit_note_when_the_seller_is_abroad(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """In English, with what the invoice's number was."""
    db.add(
        OrderSettings(organization_id=alice.organization_id, seller={"name": "Aurora Ltd", "country": "GB"})
    )
    await db.commit()
    product = await make_product(db, owner=alice, price=123450, stock=5, name='Łódź <b>bag</b> & "co"')
    order = await make_paid(client, alice, (product, 2))
    await refund(client, alice, order, lines=[units(order["order_items"][0])])
    notes = (await get(client, alice, "/api/billing/invoices?kind=credit_note"))["items"]
    invoices = (await get(client, alice, "/api/billing/invoices?kind=order&status=paid"))["items"]
    answer = await client.get(f"/api/billing/invoices/{notes[0]['id']}/pdf", headers=alice.headers)
    text = words(answer.content)
    for wanted in (
        "Credit note",
        notes[0]["invoice_number"],
        invoices[0]["invoice_number"],
        "Amount refunded",
        "EUR 1,234.50",
        '<b>bag</b> & "co"',
    ):
        assert wanted in text, (wanted, text)


async def test_invoice_pdf_when_there_is_none(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await place_order(client, alice, product)
    missing = await get(client, alice, f"/api/orders/{order['id']}/invoice.pdf", 404)
    assert missing["code"] == "invoice_not_issued"
    assert (await get(client, alice, f"/api/orders/{uuid7()}/invoice.pdf", 404))["code"] == "not_found"
    assert (await get(client, alice, f"/api/billing/invoices/{uuid7()}/pdf", 404))["code"] == "not_found"


@pytest.mark.commits
async def test_pdf_when_many_ask_for_it_first(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """All get the same bytes, and one file is kept."""
    product = await make_product(db, owner=alice, price=1000, stock=5)
    order = await make_paid(client, alice, (product, 1))
    path = f"/api/orders/{order['id']}/invoice.pdf"
    answers = await asyncio.gather(*(client.get(path, headers=alice.headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    files = (await db.scalars(select(StoredFile.id).where(StoredFile.bucket == "documents"))).all()
    assert list(files) == [await db.scalar(select(Invoice.pdf_file_id))]


async def test_list_when_it_is_filtered(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=50)
    for _ in range(3):
        order = await make_paid(client, alice, (product, 1))
    await refund(client, alice, order, amount=5)
    for status, attempts, number in (("draft", 0, None), ("open", 0, "L-1"), ("open", 2, "L_2")):
        db.add(
            Invoice(
                organization_id=alice.organization_id,
                id=uuid7(),
                kind="subscription",
                status=status,
                attempt_count=attempts,
                invoice_number=number,
                currency="EUR",
                subtotal=1,
                amount=1,
                stripe_invoice_id=f"in_{status}{attempts}",
            )
        )
    await db.commit()

    async def found(query: str) -> list[str | None]:
        items = (await get(client, alice, f"/api/billing/invoices?{query}"))["items"]
        return [item["invoice_number"] for item in items]

    assert len(await found("limit=50")) == 7
    assert await found("status=failed") == ["L_2"]
    assert set(await found("status=pending")) == {"L-1", None}
    assert await found("status=open&q=l_") == ["L_2"]
    assert len(await found("status=paid")) == 4
    assert len(await found("kind=order")) == 3
    assert await found("to=2020-01-01T00:00:00Z") == []
    first = await get(client, alice, "/api/billing/invoices?limit=4")
    rest = await get(client, alice, f"/api/billing/invoices?limit=4&cursor={first['next_cursor']}")
    ids = [item["id"] for page in (first, rest) for item in page["items"]]
    assert len(set(ids)) == 7
    draft = next(item for page in (first, rest) for item in page["items"] if item["status"] == "draft")
    assert draft["pdf_url"] is None
    refused = await get(client, alice, f"/api/billing/invoices/{draft['id']}/pdf", 409)
    assert refused["code"] == "invoice_not_final"
    for query in ("status=unpaid", "kind=x", "q=", "page=1&cursor=x", "from=yesterday", "limit=0"):
        await get(client, alice, f"/api/billing/invoices?{query}", 422)


async def test_usage_when_renders_are_reported(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    await limit_renders(db, alice, 10)

    async def report(quantity: Any, key: Any, **more: Any) -> Any:
        body = {"metric": "renders", "quantity": quantity, "idempotency_key": key, **more}
        return await client.post("/api/billing/usage-events", headers=alice.headers, json=body)

    first = await report(4, "a")
    assert (first.status_code, first.json()["used"], first.json()["limit"]) == (201, 4, 10)
    assert (first.headers["x-quota-limit"], first.headers["x-quota-remaining"]) == ("10", "6")
    again = await report(9, "a")
    assert (again.status_code, again.json()["quantity"], again.json()["used"]) == (200, 4, 4)
    refused = await report(7, "b")
    assert (refused.status_code, refused.json()["code"]) == (402, "quota_exceeded")
    assert (refused.json()["used"], refused.json()["requested"]) == (4, 7)
    assert (await report(6, "b")).status_code == 201
    for quantity, key in (
        (0, "c"),
        (True, "c"),
        (1.5, "c"),
        ("1", "c"),
        (10**30, "c"),
        (1, ""),
        (1, "x" * 201),
    ):
        assert (await report(quantity, key)).status_code == 422
    assert (await report(1, "c", metric="orders")).status_code == 422
    page = await get(client, alice, "/api/billing/usage")
    items = {item["metric"]: item for item in page["items"]}
    assert (len(items), page["total"]) == (12, 12)
    renders = items["renders"]
    assert (renders["kind"], renders["used"], renders["limit"], renders["percent"]) == (
        "counter",
        10,
        10,
        100,
    )
    assert (items["team_members"]["kind"], items["team_members"]["used"]) == ("gauge", 2)
    assert items["team_members"]["resets_at"] is None
    month = first.json()["period"]
    earlier = await get(client, alice, f"/api/billing/usage?period={month}")
    assert [item["kind"] for item in earlier["items"]] == ["counter"] * 6
    for period in ("2020-01-02", "9999-12-01", "0001-01-01x", "1"):
        await get(client, alice, f"/api/billing/usage?period={period}", 422)
    assert (await get(client, alice, "/api/billing/usage?period=0001-01-01"))["items"][0]["used"] == 0
    await get(client, bob, "/api/billing/usage", 403)
    viewer = await client.post("/api/billing/usage-events", headers=bob.headers, json={})
    assert viewer.status_code == 403


async def test_quota_when_each_report_comes_twice(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The same as for the service, by the route: done, counted already, refused."""
    await limit_renders(db, alice, 10)
    statuses = []
    for key in [*range(15), *range(15)]:
        body = {"metric": "renders", "quantity": 1, "idempotency_key": f"render {key}"}
        answer = await client.post("/api/billing/usage-events", headers=alice.headers, json=body)
        statuses.append(answer.status_code)
    assert [statuses.count(status) for status in (201, 200, 402)] == [10, 10, 10]
    assert await db.scalar(select(func.count()).select_from(UsageEvent)) == 10


async def test_revenue_when_it_is_grouped(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    order = await example_two(client, db, alice)
    jam = order["order_items"][1]
    await refund(client, alice, order, lines=[units(jam)])
    await refund(client, alice, order, amount=1000)
    yen = await make_product(db, owner=alice, price=500, currency="JPY", stock=5)
    await make_paid(client, alice, (yen, 1))
    for group in ("day", "week", "month", "source", "product"):
        answer = await get(client, alice, f"/api/billing/revenue?group_by={group}")
        euro, other = answer["currencies"]
        assert (euro["currency"], euro["charges"], euro["refunds"], euro["net"]) == (
            "EUR",
            22903,
            -3862,
            19041,
        )
        assert (other["currency"], other["net"]) == ("JPY", 500)
        for currency in answer["currencies"]:
            assert sum(one["net"] for one in currency["groups"]) == currency["net"]
    products = {
        one["key"]: one
        for one in (await get(client, alice, "/api/billing/revenue?group_by=product"))["currencies"][0][
            "groups"
        ]
    }
    assert (products[jam["product_id"]]["charges"], products[jam["product_id"]]["refunds"]) == (8585, -2862)
    assert (products[None]["charges"], products[None]["refunds"]) == (590, -1000)
    sources = (await get(client, alice, "/api/billing/revenue?group_by=source&currency=EUR"))["currencies"]
    assert [one["key"] for one in sources[0]["groups"]] == ["order"]
    assert (await get(client, alice, "/api/billing/revenue?account=platform"))["currencies"] == []
    assert (await get(client, charlie, "/api/billing/revenue"))["currencies"] == []
    for query, code in (
        ("from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "range_invalid"),
        ("from=2020-01-01T00:00:00Z", "range_too_long"),
        ("group_by=buyer", "validation_error"),
    ):
        assert (await get(client, alice, f"/api/billing/revenue?{query}", 422))["code"] == code
    for edge in ("from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z", "to=0001-01-01T00:00:00Z"):
        await get(client, alice, f"/api/billing/revenue?{edge}")


async def test_entries_when_they_are_paged(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    product = await make_product(db, owner=alice, price=1000, stock=50)
    order = await make_paid(client, alice, (product, 1))
    for _ in range(4):
        await refund(client, alice, order, amount=10)
    first = await get(client, alice, "/api/billing/revenue/entries?limit=3")
    rest = await get(client, alice, f"/api/billing/revenue/entries?limit=3&cursor={first['next_cursor']}")
    entries = [*first["items"], *rest["items"]]
    assert [entry["amount"] for entry in entries] == [-10, -10, -10, -10, 1000]
    assert {entry["order_id"] for entry in entries} == {order["id"]}
    assert rest["next_cursor"] is None
    charges = await get(client, alice, "/api/billing/revenue/entries?entry_type=charge&count=true")
    assert (charges["total"], charges["items"][0]["account"]) == (1, "merchant")
    assert (await get(client, alice, "/api/billing/revenue/entries?account=platform"))["items"] == []
    assert (await get(client, charlie, "/api/billing/revenue/entries"))["items"] == []
    viewer = await make_colleague(db, alice, "vera")
    await get(client, viewer, "/api/billing/revenue/entries", 403)


async def test_print_when_the_rows_have_changed_hands(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """What settings say later never reaches a document."""
    product = await make_product(db, owner=alice, price=1000, stock=50)
    order = await make_paid(client, alice, (product, 1))
    await db.execute(update(OrderSettings).values(seller={"name": "Somebody else"}))
    await db.commit()
    answer = await client.get(f"/api/orders/{order['id']}/invoice.pdf", headers=alice.headers)
    assert "Somebody else" not in words(answer.content)
