"""Owns the questions to the invoices that mirror Stripe's."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, update

from app.models.billing import Invoice, InvoiceLine
from app.repositories.base import Repository


class InvoiceMirrorRepository(Repository[Invoice]):
    """Mirrors, for any session: the question names the organisation."""

    model = Invoice

    async def find(self, organization_id: UUID, invoice_id: UUID) -> Invoice | None:
        """One document of the organisation, or None."""
        return await self.one(Invoice.organization_id == organization_id, Invoice.id == invoice_id)

    async def by_stripe_id(
        self, organization_id: UUID, stripe_invoice_id: str, *, lock: bool = False
    ) -> Invoice | None:
        """The mirror of an invoice of Stripe."""
        return await self.one(
            Invoice.organization_id == organization_id,
            Invoice.stripe_invoice_id == stripe_invoice_id,
            lock=lock,
        )

    async def change(self, invoice: Invoice, values: Mapping[str, Any]) -> None:
        """Change a mirror that the caller has locked."""
        await self.session.execute(
            update(Invoice)
            .where(Invoice.organization_id == invoice.organization_id, Invoice.id == invoice.id)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
        await self.session.refresh(invoice)

    async def replace_lines(self, invoice: Invoice, lines: Sequence[Mapping[str, Any]]) -> None:
        """Let a mirror have these lines."""
        await self.session.execute(
            delete(InvoiceLine)
            .where(
                InvoiceLine.organization_id == invoice.organization_id, InvoiceLine.invoice_id == invoice.id
            )
            .execution_options(synchronize_session=False)
        )
        self.session.add_all(
            InvoiceLine(organization_id=invoice.organization_id, invoice_id=invoice.id, **line)
            for line in lines
        )
        await self.session.flush()
