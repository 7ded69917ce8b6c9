"""Owns the files of documents: printed at the first request, kept, and printed again when a file is lost."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends

from app.clients.stripe import StripeError
from app.clients.stripe.printed import printed
from app.core.access import CurrentPrincipal
from app.core.database import Database, DatabaseOf, Owner
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.file_answers import FileFacts
from app.models.billing import Invoice
from app.repositories.billing.invoices import InvoiceRepository
from app.services.billing.pdf.rendering import Printed, render
from app.services.files.buckets import DOCUMENTS, FileOwner
from app.services.files.serving import bytes_of
from app.services.files.storing import FileService
from app.services.stripe_webhooks.refusals import answer_to, require_stripe

MEDIA_TYPE = "application/pdf"
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A document's file, ready to be answered."""

    facts: FileFacts
    content: bytes

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, not included."""
        yield self.content[start:end]


class InvoiceFiles:
    """Prints documents of the organisation, and keeps what was printed."""

    def __init__(self, session: Owner, principal: CurrentPrincipal, database: DatabaseOf) -> None:
        self.session = session
        self.principal = principal
        self.database = database
        self.invoices = InvoiceRepository(session)

    async def of_document(self, invoice_id: UUID) -> DocumentFile:
        """The PDF of a document; of one of Stripe's, what Stripe printed.

        404; 409 `invoice_not_final`, `provider_out_of_sync`; 503 when Stripe is needed and does not answer.
        """
        invoice = await self.invoices.get(invoice_id)
        if invoice is None:
            raise NotFound()
        if invoice.status == "draft":
            raise Conflict("invoice_not_final", "This document is a draft; it is printed when it is final.")
        return await self._file(invoice)

    async def of_order(self, reference: str) -> DocumentFile:
        """The PDF of an order's invoice; 404, also `invoice_not_issued`."""
        found = await self.invoices.of_order(reference)
        if found is None:
            raise NotFound()
        if found[1] is None:
            raise NotFound("invoice_not_issued", "There is no invoice before the order is paid.")
        return await self._file(found[1])

    async def _file(self, invoice: Invoice) -> DocumentFile:
        content = await self._kept(invoice)
        if content is None and invoice.stripe_invoice_id is not None:
            content = await _from_stripe(invoice.stripe_invoice_id)
            if invoice.status in ENDED:
                await self._keep(invoice, content)
        elif content is None:
            content = await self._print(invoice)
            await self._keep(invoice, content)
        return DocumentFile(_facts(invoice, content), content)

    async def _print(self, invoice: Invoice) -> bytes:
        lines = await self.invoices.lines(invoice.id)
        document = _printed(invoice, [{name: getattr(line, name) for name in LINE} for line in lines])
        # Nothing is held while the CPU works.
        return await asyncio.to_thread(render, document)

    async def _kept(self, invoice: Invoice) -> bytes | None:
        """What was printed before; None when nothing was, or when it is lost."""
        if invoice.pdf_file_id is None:
            return None
        file = await self.invoices.file(invoice.pdf_file_id)
        if file is None:
            return None
        try:
            return b"".join([piece async for piece in bytes_of(file, 0, file.size_bytes)])
        except Unavailable:
            return None

    async def _keep(self, invoice: Invoice, content: bytes) -> None:
        """Store what was printed; a store that does not answer keeps nobody from reading it."""
        try:
            await keep(self.database, invoice, content, _file_name(invoice))
        except Unavailable:
            logger.warning("document_not_kept", invoice_id=str(invoice.id))


async def keep(database: Database, invoice: Invoice, content: bytes, file_name: str) -> None:
    """Store a document's file and note where it is; whoever comes second with the same leaves nothing."""
    files = FileService(database)
    with tempfile.TemporaryDirectory(prefix="luneo-document-") as folder:
        path = Path(folder) / "document.pdf"
        await asyncio.to_thread(path.write_bytes, content)
        owner = FileOwner(organization_id=invoice.organization_id)
        placed = await files.place(
            path, bucket=DOCUMENTS, owner=owner, extension="pdf", media_type=MEDIA_TYPE
        )
    async with database.transaction() as session:
        file = await files.record(session, placed, file_name=file_name)
        if not await InvoiceRepository(session).keep(invoice, file.id):
            await files.release(session, file.id)
        elif invoice.pdf_file_id is not None:
            await files.release(session, invoice.pdf_file_id)


async def _from_stripe(stripe_id: str) -> bytes:
    client = require_stripe()
    try:
        return await printed(client, stripe_id)
    except StripeError as error:
        raise answer_to(error) from error


ENDED = frozenset({"paid", "void"})
"""Documents of Stripe's that are printed for the last time; before, what is due stands on them."""

LINE = ("description", "quantity", "unit_amount", "discount_amount", "tax_rate_bps", "total_amount")


def _printed(invoice: Invoice, lines: list[dict[str, object]]) -> Printed:
    """The document as plain values, which a thread may read."""
    return Printed(
        kind=invoice.kind,
        number=invoice.invoice_number or "",
        currency=invoice.currency,
        subtotal=invoice.subtotal,
        tax=invoice.tax,
        amount=invoice.amount,
        amount_paid=invoice.amount_paid,
        paid_on=None if invoice.paid_at is None else _paid_on(invoice, invoice.paid_at),
        parties=invoice.parties,
        tax_groups=invoice.tax_groups,
        lines=lines,
    )


def _paid_on(invoice: Invoice, paid_at: datetime) -> date:
    """The day of payment; own documents are issued on that of their organisation's time zone."""
    issued_on = invoice.parties.get("issued_on")
    return date.fromisoformat(issued_on) if issued_on else paid_at.date()


def _file_name(invoice: Invoice) -> str:
    return f"{UNSAFE.sub('', invoice.invoice_number or '') or invoice.id}.pdf"


def _facts(invoice: Invoice, content: bytes) -> FileFacts:
    return FileFacts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        media_type=MEDIA_TYPE,
        file_name=_file_name(invoice),
        cache_control="no-store",
    )


Documents = Annotated[InvoiceFiles, Depends()]
