"""PDFs of the subscription's invoices: fetched from Stripe by a fresh link, and kept once they are final."""

from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.stripe import StripeClient, StripeUnavailable
from app.clients.stripe.printed import MOST_BYTES, printed
from app.core.database import Database, SystemSession
from app.models.billing import Invoice
from app.models.files import StoredFile
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox


@pytest.mark.commits
async def test_subscription_invoice_when_it_is_downloaded(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    shop = Shop(client, database, stripe_sandbox)
    await shop.open()
    await shop.buy(alice)
    invoice = (await db.scalars(select(Invoice).where(Invoice.kind == "subscription"))).one()
    path = f"/api/billing/invoices/{invoice.id}/pdf"
    first = await client.get(path, headers=alice.headers)
    assert (first.status_code, first.content[:4]) == (200, b"%PDF"), first.text
    assert (await db.scalars(select(StoredFile.bucket))).all() == ["documents"]
    await stripe_sandbox.sandbox.change(lambda state: state.objects.pop(str(invoice.stripe_invoice_id)))
    assert (await client.get(path, headers=alice.headers)).content == first.content


class Elsewhere(StripeClient):
    """A client whose objects have a link to somewhere."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sandbox = None

    async def call(self, operation: str, *ids: str, **_: Any) -> dict[str, Any]:
        return {"id": ids[0], "invoice_pdf": self.address}


PAY = "https://pay.stripe.com/invoice/x/pdf"


ANSWERS: dict[str, dict[str, Any]] = {
    "/invoice/x/pdf": {"status_code": 302, "headers": {"location": "https://files.stripe.com/real"}},
    "/real": {"status_code": 200, "content": b"%PDF-1.7 printed"},
    "/away": {"status_code": 302, "headers": {"location": "https://example.test/real"}},
    "/circle": {"status_code": 302, "headers": {"location": "/circle"}},
    "/large": {"status_code": 200, "content": b"%PDF" + bytes(MOST_BYTES)},
    "/page": {"status_code": 200, "content": b"<html>"},
    "/missing": {"status_code": 404},
}


def answered(request: httpx.Request) -> httpx.Response:
    """What the addresses of these tests answer; the others are down."""
    if request.url.path not in ANSWERS:
        raise httpx.ConnectError("nobody there")
    return httpx.Response(**ANSWERS[request.url.path])


async def test_link_when_it_leads_on() -> None:
    content = await printed(Elsewhere(PAY), "in_1", transport=httpx.MockTransport(answered))
    assert content == b"%PDF-1.7 printed"


@pytest.mark.parametrize(
    "address",
    [
        "http://pay.stripe.com/invoice/x/pdf",
        "https://stripe.com.example.test/real",
        "https://notstripe.com/real",
        "https://pay.stripe.com/away",
        "https://pay.stripe.com/circle",
        "https://pay.stripe.com/large",
        "https://pay.stripe.com/page",
        "https://pay.stripe.com/down",
        "https://pay.stripe.com/missing",
    ],
)
async def test_link_when_it_is_no_pdf_of_stripe(address: str) -> None:
    with pytest.raises(StripeUnavailable):
        await printed(Elsewhere(address), "in_1", transport=httpx.MockTransport(answered))
