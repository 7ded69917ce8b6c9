"""Questions to invoices and credit notes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select, update

from app.models.billing import Invoice, InvoiceLine
from app.models.files import StoredFile
from app.models.orders import Order
from app.repositories.base import Repository
from app.repositories.orders.orders import named

STATES: Mapping[str, ColumnElement[bool]] = {
    "failed": or_(
        Invoice.status == "uncollectible", and_(Invoice.status == "open", Invoice.attempt_count > 0)
    ),
    "pending": or_(Invoice.status == "draft", and_(Invoice.status == "open", Invoice.attempt_count == 0)),
}
"""What the words of payments mean that are no status themselves."""


class InvoiceRepository(Repository[Invoice]):
    """Documents of the organisation."""

    model: ClassVar[type[Invoice]] = Invoice

    def matching(
        self,
        *,
        status: str | None,
        kind: str | None,
        since: datetime | None,
        until: datetime | None,
        number: str | None,
    ) -> Select[Any]:
        """The statement of the list."""
        statement = self.select()
        if status is not None:
            statement = statement.where(STATES.get(status, Invoice.status == status))
        if kind is not None:
            statement = statement.where(Invoice.kind == kind)
        if since is not None:
            statement = statement.where(Invoice.created_at >= since)
        if until is not None:
            statement = statement.where(Invoice.created_at < until)
        if number is not None:
            statement = statement.where(Invoice.invoice_number.icontains(number, autoescape=True))
        return statement

    async def lines(self, invoice_id: UUID) -> Sequence[InvoiceLine]:
        """The lines of a document by position."""
        statement = (
            select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
        )
        return (await self.session.scalars(statement)).all()

    async def of_order(self, reference: str) -> tuple[UUID, Invoice | None] | None:
        """The order with this id or number, with its invoice if it has one."""
        condition = named(reference)
        if condition is None:
            return None
        statement = (
            select(Order.id, Invoice)
            .select_from(Order)
            .outerjoin(
                Invoice,
                and_(
                    Invoice.organization_id == Order.organization_id,
                    Invoice.order_id == Order.id,
                    Invoice.kind == "order",
                ),
            )
            .where(condition)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return None if row is None else (row[0], row[1])

    async def file(self, file_id: UUID) -> StoredFile | None:
        """The kept PDF of a document."""
        found: StoredFile | None = await self.session.scalar(
            select(StoredFile).where(StoredFile.id == file_id)
        )
        return found

    async def keep(self, invoice: Invoice, file_id: UUID) -> bool:
        """Note where a document's PDF is, unless another was noted since `invoice` was read."""
        known = invoice.pdf_file_id
        statement = (
            update(Invoice)
            .where(
                Invoice.organization_id == invoice.organization_id,
                Invoice.id == invoice.id,
                Invoice.pdf_file_id.is_(None) if known is None else Invoice.pdf_file_id == known,
            )
            .values(pdf_file_id=file_id)
            .returning(Invoice.id)
            .execution_options(synchronize_session=False)
        )
        return await self.session.scalar(statement) is not None
