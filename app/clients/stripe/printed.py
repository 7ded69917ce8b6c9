"""Fetches what Stripe printed: the PDF of an invoice or a credit note, by a link that is always fresh."""

from functools import partial
from urllib.parse import urljoin, urlsplit

import httpx

from app.clients.stripe.errors import StripeMissing, StripeUnavailable
from app.clients.stripe.port import StripeClient
from app.clients.stripe.sandbox.visits import invoice_pdf

SECONDS = 15
HOPS = 4
MOST_BYTES = 20 * 1024 * 1024
MAGIC = b"%PDF"

CREDIT_NOTE = "cn_"
"""How the ids of credit notes begin."""


async def printed(
    client: StripeClient, stripe_id: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> bytes:
    """The PDF of an invoice or a credit note of Stripe's. StripeMissing when it has none, StripeUnavailable.

    Never call it inside a transaction. `transport` is for tests.
    """
    is_note = stripe_id.startswith(CREDIT_NOTE)
    found = await client.call("credit_notes.retrieve" if is_note else "invoices.retrieve", stripe_id)
    address = found.get("pdf" if is_note else "invoice_pdf")
    if not address:
        raise StripeMissing("there is no PDF yet")
    if client.sandbox is not None:
        invoice_id = found["invoice"] if is_note else stripe_id
        return await client.sandbox.change(partial(invoice_pdf, invoice_id=invoice_id))
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, transport=transport) as http:
            return await _fetch(http, str(address))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise StripeUnavailable(f"the PDF cannot be fetched: {type(error).__name__}") from error


async def _fetch(http: httpx.AsyncClient, address: str) -> bytes:
    """Follow the link, by addresses of Stripe's alone."""
    for _ in range(HOPS):
        parts = urlsplit(address)
        if parts.scheme != "https" or not (parts.hostname or "").endswith(".stripe.com"):
            raise StripeUnavailable("the link of a PDF leads away from Stripe")
        async with http.stream("GET", address) as answer:
            if answer.is_redirect:
                address = urljoin(address, answer.headers["location"])
                continue
            if answer.status_code != httpx.codes.OK:
                raise StripeUnavailable("the PDF is not there", status=answer.status_code)
            content = bytearray()
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise StripeUnavailable("the PDF is too large")
            if not content.startswith(MAGIC):
                raise StripeUnavailable("what was fetched is no PDF")
            return bytes(content)
    raise StripeUnavailable("the link of a PDF leads on and on")
