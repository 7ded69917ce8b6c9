"""Writes what accounting keeps: entries of the ledger, and documents with their numbers.

The row guard does not see these statements: the owner is a parameter of each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import select

from app.core.database import ScopedSession
from app.models.billing import Invoice, RevenueEntry
from app.models.orders import Refund
from app.repositories.base import detached

SeriesKind = Literal["invoice", "credit_note"]

NUMBER_DIGITS = 6
"""A number has at least so many digits, and more when it needs them."""

ENTRY = (
    "id",
    "user_id",
    "source",
    "account",
    "entry_type",
    "amount",
    "currency",
    "description",
    "source_ref",
    "stripe_payment_intent_id",
    "order_id",
    "invoice_id",
    "metadata",
    "recorded_at",
)

DOCUMENT = (
    "id",
    "user_id",
    "kind",
    "status",
    "order_id",
    "refund_id",
    "credited_invoice_id",
    "currency",
    "subtotal",
    "tax",
    "amount",
    "amount_paid",
    "finalized_at",
    "paid_at",
    "parties",
    "tax_groups",
)

LINE = (
    "position",
    "description",
    "quantity",
    "unit_amount",
    "discount_amount",
    "tax_rate_bps",
    "tax_amount",
    "total_amount",
)


def _names(columns: Sequence[str], alias: str = "") -> str:
    return ", ".join(f"{alias}{name}" for name in columns)


RECORD = f"""
    INSERT INTO revenue_tracking (organization_id, {_names(ENTRY)})
    SELECT $1, {_names(ENTRY, "r.")} FROM jsonb_populate_record(NULL::revenue_tracking, $2::jsonb) AS r
    ON CONFLICT (organization_id, entry_type, source_ref) DO NOTHING RETURNING id
    """  # noqa: S608 - names of the code

ISSUE = f"""
    WITH counter AS (
      INSERT INTO document_counters (organization_id, kind, period, last_value) VALUES ($1, $2, $3, 1)
      ON CONFLICT (organization_id, kind, period) DO UPDATE SET last_value = document_counters.last_value + 1
      RETURNING last_value::text AS digits),
    issued AS (
      INSERT INTO invoices (organization_id, {_names(DOCUMENT)}, invoice_number)
      SELECT $1, {_names(DOCUMENT, "r.")},
             $4 || lpad(digits, greatest({NUMBER_DIGITS}, char_length(digits)), '0')
      FROM counter, jsonb_populate_record(NULL::invoices, $5::jsonb) AS r
      RETURNING id, invoice_number, created_at, updated_at),
    lines AS (
      INSERT INTO invoice_lines (organization_id, invoice_id, {_names(LINE)})
      SELECT $1, issued.id, {_names(LINE, "r.")}
      FROM issued, jsonb_populate_recordset(NULL::invoice_lines, $6::jsonb) AS r)
    SELECT invoice_number, created_at, updated_at FROM issued
    """  # noqa: S608 - names of the code
"""Number, document and lines at once. The counter's row is the last lock of a transaction."""

INVOICING = """
    SELECT s.invoice_prefix, s.time_zone, s.seller, o.name,
           (SELECT r.name FROM shipping_rates r WHERE r.organization_id = o.id AND r.code = $3),
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
              'position', i.position, 'name', i.name, 'sku', i.sku, 'quantity', i.quantity,
              'unit_price', i.unit_price, 'discount_amount', i.discount_amount,
              'tax_rate_bps', i.tax_rate_bps, 'tax_amount', i.tax_amount, 'total_amount', i.total_amount)
              ORDER BY i.position), '[]')
            FROM order_items i WHERE i.organization_id = o.id AND i.order_id = $2),
           (SELECT i.id FROM invoices i WHERE i.organization_id = o.id AND i.order_id = $2
              AND i.kind = 'order')
    FROM organizations o LEFT JOIN order_settings s ON s.organization_id = o.id
    WHERE o.id = $1
    """

CREDITING = """
    SELECT p.status, i.id, i.invoice_number, i.parties, s.credit_note_prefix, s.time_zone,
           o.pricing -> 'shipping' -> 'tax_rate_bps',
           (SELECT coalesce(jsonb_object_agg(l.id, jsonb_build_object(
              'name', l.name, 'sku', l.sku, 'tax_rate_bps', l.tax_rate_bps)), '{}')
            FROM order_items l WHERE l.organization_id = o.organization_id AND l.order_id = o.id),
           coalesce(
             (SELECT n.id FROM invoices n WHERE n.organization_id = o.organization_id AND n.refund_id = $3),
             (SELECT n.id FROM refunds r
              JOIN invoices n ON n.organization_id = r.organization_id AND n.refund_id = r.id
              WHERE r.organization_id = o.organization_id AND r.order_id = o.id AND r.payment_id = p.id
                AND r.status = 'failed' AND n.amount = $4 AND n.tax_groups = $5::jsonb
              ORDER BY n.invoice_number LIMIT 1
              OFFSET (SELECT count(*) FROM refunds s
                      WHERE s.organization_id = o.organization_id AND s.order_id = o.id
                        AND s.payment_id = p.id AND s.id <> $3 AND s.status = 'succeeded'
                        AND s.amount = $4 AND s.tax_groups = $5::jsonb
                        AND NOT EXISTS (SELECT FROM invoices m WHERE m.organization_id = s.organization_id
                                        AND m.refund_id = s.id))))
    FROM order_payments p
    JOIN orders o ON o.organization_id = p.organization_id AND o.id = p.order_id
    LEFT JOIN invoices i ON i.organization_id = p.organization_id AND i.order_id = p.order_id
      AND i.kind = 'order'
    LEFT JOIN order_settings s ON s.organization_id = p.organization_id
    WHERE p.organization_id = $1 AND p.id = $2
    """
"""The last column is a credit note that stands already: the refund's own, or one of the same sums whose
refund the bank has returned, as far as no other refund that was made again has taken it.
"""


class Invoicing(NamedTuple):
    """What an invoice needs besides its order; the settings are None before their first use.

    `issued_id` is the invoice that the order has already.
    """

    prefix: str | None
    time_zone: str | None
    seller: Mapping[str, Any] | None
    organization: str
    shipping_name: str | None
    lines: Sequence[Mapping[str, Any]]
    issued_id: UUID | None


class Crediting(NamedTuple):
    """What a credit note needs besides its refund: the payment's status, the invoice (if there is one) and
    the order's lines by their ids. `issued_id` is a credit note that stands for the refund already.
    """

    payment_status: str
    invoice_id: UUID | None
    invoice_number: str | None
    parties: Mapping[str, Any] | None
    prefix: str | None
    time_zone: str | None
    shipping_rate_bps: int | None
    items: Mapping[str, Mapping[str, Any]]
    issued_id: UUID | None


class LedgerRepository:
    """Writes the books of one organisation, for any session."""

    def __init__(self, session: ScopedSession, organization_id: UUID) -> None:
        self.session = session
        self.organization_id = organization_id

    async def record(self, entry: Mapping[str, Any]) -> bool:
        """Add an entry unless the same movement stands there already; whether it was new."""
        return bool(await self.session.fetch(RECORD, self.organization_id, to_json(entry).decode()))

    async def stands(self, entry_type: str, source_ref: str) -> bool:
        """Whether a movement stands in the ledger."""
        statement = select(RevenueEntry.id).where(
            RevenueEntry.organization_id == self.organization_id,
            RevenueEntry.entry_type == entry_type,
            RevenueEntry.source_ref == source_ref,
        )
        return await self.session.scalar(statement) is not None

    async def issue(
        self,
        series: SeriesKind,
        *,
        prefix: str,
        year: str,
        document: Mapping[str, Any],
        lines: Sequence[Mapping[str, Any]],
    ) -> Invoice:
        """Write a document with its lines under the next number of its series; answers it, in no session."""
        (row,) = await self.session.fetch(
            ISSUE,
            self.organization_id,
            series,
            year,
            f"{prefix}-{year}-",
            to_json(document).decode(),
            to_json(lines).decode(),
        )
        given = dict(zip(("invoice_number", "created_at", "updated_at"), row, strict=True))
        blank = dict.fromkeys(column.key for column in Invoice.__mapper__.column_attrs)
        counts = {"amount_remaining": 0, "attempt_count": 0}
        owner = {"organization_id": self.organization_id}
        return detached(Invoice, {**blank, **counts, **document, **given, **owner})

    async def invoicing(self, order_id: UUID, shipping_code: str | None) -> Invoicing:
        """What an invoice of an order prints besides the order."""
        (row,) = await self.session.fetch(INVOICING, self.organization_id, order_id, shipping_code)
        return Invoicing(*row)

    async def crediting(self, refund: Refund) -> Crediting:
        """What the credit note of a refund prints besides the refund."""
        (row,) = await self.session.fetch(
            CREDITING,
            self.organization_id,
            refund.payment_id,
            refund.id,
            refund.amount,
            to_json(refund.tax_groups).decode(),
        )
        return Crediting(*row)

    async def document(self, document_id: UUID) -> Invoice:
        """A document that is there. What else the caller has changed is not written by asking for it."""
        statement = select(Invoice).where(
            Invoice.organization_id == self.organization_id, Invoice.id == document_id
        )
        with self.session.no_autoflush:
            found: Invoice = (await self.session.execute(statement)).scalar_one()
        return found
