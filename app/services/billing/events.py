"""What is told of invoices and of what is used, to the organisation and to customers' webhooks."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission
from app.models.billing import Invoice


@dataclass(frozen=True, kw_only=True)
class BillingEvent(Event):
    """What every event of billing shares: those who may read billing hear of it."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.billing_read
    webhook: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class InvoiceEvent(BillingEvent):
    """What every event of an invoice or a credit note says; amounts in minor units of `currency`."""

    subject: ClassVar[tuple[str, str] | None] = ("invoice", "invoice_id")
    audit: ClassVar[AuditSpec | str] = "Final documents are kept as they are, with who caused them."

    invoice_id: UUID
    kind: str
    invoice_number: str | None
    status: str
    payment_state: str
    currency: str
    amount: int
    amount_remaining: int
    order_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class InvoiceCreated(InvoiceEvent):
    """A document has come into being."""

    type: ClassVar[str] = "invoice.created"
    description: ClassVar[str] = "An invoice or a credit note was issued."


@dataclass(frozen=True, kw_only=True)
class InvoicePaid(InvoiceEvent):
    """An invoice is paid."""

    type: ClassVar[str] = "invoice.paid"
    description: ClassVar[str] = "An invoice was paid in full."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)


@dataclass(frozen=True, kw_only=True)
class UsageThresholdReached(BillingEvent):
    """A good part of what the plan gives in a period is used."""

    type: ClassVar[str] = "usage.threshold_reached"
    description: ClassVar[str] = "80 or 100 per cent of what the plan gives in a period is used."
    handlers: ClassVar[tuple[str, ...]] = ("notifications",)
    audit: ClassVar[AuditSpec | str] = "Nobody acted: it follows from what was done, which is kept itself."

    metric: str
    period: str
    used: int
    limit: int
    percent: int


def payment_state(status: str, attempt_count: int) -> str:
    """A document's status in the words of payments: `paid`, `void`, `failed` or `pending`."""
    if status in {"paid", "void"}:
        return status
    return "failed" if status == "uncollectible" or (status == "open" and attempt_count > 0) else "pending"


def invoice_event(kind: type[InvoiceEvent], invoice: Invoice) -> InvoiceEvent:
    """The event of a document as it stands now."""
    return kind(
        invoice_id=invoice.id,
        kind=invoice.kind,
        invoice_number=invoice.invoice_number,
        status=invoice.status,
        payment_state=payment_state(invoice.status, invoice.attempt_count),
        currency=invoice.currency,
        amount=invoice.amount,
        amount_remaining=invoice.amount_remaining,
        order_id=invoice.order_id,
    )
