"""What callers ask and get about invoices and credit notes."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from app.core.paging import PageQuery
from app.schemas.base import Amount, Currency, Line, Output, Timestamp

InvoiceKind = Literal["subscription", "order", "credit_note"]
InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]
PaymentState = Literal["paid", "void", "failed", "pending"]

SignedAmount = Annotated[int, Field(description="Minor units of the document's currency.")]


class InvoiceQuery(PageQuery):
    """Filters and place of a page of the list; the filters that are sent must all apply."""

    status: InvoiceStatus | Literal["failed", "pending"] | None = Field(
        None, description="A status, or one of `payment_state`."
    )
    kind: InvoiceKind | None = Field(None, description="Only such documents.")
    from_: Timestamp | None = Field(None, alias="from", description="Made at this moment or later.")
    to: Timestamp | None = Field(None, description="Made before this moment.")
    q: Annotated[Line, Field(min_length=1, max_length=40)] | None = Field(
        None, description="A part of the number."
    )


class InvoiceLineRead(Output):
    """A line of a document. `total_amount` is what is paid for it, tax included."""

    position: int
    description: str
    quantity: int
    unit_amount: SignedAmount
    discount_amount: Amount
    tax_rate_bps: int = Field(description="Basis points: 2000 is 20 per cent.")
    tax_amount: SignedAmount
    total_amount: SignedAmount


class TaxGroupRead(Output):
    """Everything that is taxed at one rate."""

    rate_bps: int
    net_amount: Amount
    tax_amount: Amount
    gross_amount: Amount


class InvoiceRead(Output):
    """An invoice or a credit note. Amounts are positive; the kind says the direction."""

    id: UUID
    kind: InvoiceKind
    status: InvoiceStatus
    payment_state: PaymentState = Field(description="The status in the words of payments.")
    invoice_number: str | None = Field(examples=["FAC-2026-000001"])
    order_id: UUID | None
    refund_id: UUID | None
    credited_invoice_id: UUID | None = Field(description="The invoice that a credit note is about.")
    currency: Currency
    subtotal: Amount = Field(description="Minor units, without tax.")
    tax: Amount
    amount: Amount = Field(description="Minor units, tax included.")
    amount_paid: Amount
    amount_remaining: Amount
    plan_name: str | None
    billing_period: str | None
    period_start: Timestamp | None
    period_end: Timestamp | None
    attempt_count: int
    due_at: Timestamp | None
    finalized_at: Timestamp | None
    paid_at: Timestamp | None
    hosted_invoice_url: str | None
    pdf_url: str | None = Field(description="This API's own address; null while it is a draft.")
    created_at: Timestamp
    updated_at: Timestamp


class InvoiceDetail(InvoiceRead):
    """A document with all that it prints."""

    last_payment_error: str | None
    parties: dict[str, Any] = Field(description="Seller and buyer as they are printed.")
    tax_groups: list[TaxGroupRead]
    lines: list[InvoiceLineRead]
