"""Owns the documents of orders: an invoice when one is paid, a credit note when money of it goes back.

They are written once, in the transaction of their cause, from what the order and the settings say then.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.core.database import ScopedSession
from app.core.events import emit_all
from app.core.ids import uuid7
from app.core.money import allocate
from app.models.billing import Invoice
from app.models.orders import Order, Refund
from app.repositories.billing.ledger import Crediting, Invoicing, LedgerRepository
from app.services.billing.events import InvoiceCreated, InvoicePaid, invoice_event

INVOICE_PREFIX = "FAC"
CREDIT_NOTE_PREFIX = "AV"
TIME_ZONE = "Europe/Paris"
"""What the settings say before their first use; the defaults of their columns."""

FRENCH = frozenset({"BE", "CD", "CI", "FR", "GF", "GP", "LU", "MC", "MQ", "NC", "PF", "RE", "SN", "YT"})
"""Countries whose sellers' documents are in French; so are those of a seller that names no country."""

GOODWILL = {"fr": "Remboursement", "en": "Refund"}
SHIPPING = {"fr": "Livraison", "en": "Shipping"}

BUYER = ("name", "company", "line1", "line2", "postal_code", "city", "region", "country")
"""What a document prints of an address; the rest is nobody's business there."""


async def invoice_order(session: ScopedSession, order: Order) -> Invoice:
    """Issue the invoice of a locked order that has just been paid; the one it has, if it has one.

    `amount` is what the order costs, and `amount_paid` what its payment came to, which may have been accepted
    though it is another amount. The number comes from the organisation's series, whose row is locked until
    the transaction ends: nothing that others lock may be locked after this.
    """
    books = LedgerRepository(session, order.organization_id)
    facts = await books.invoicing(order.id, order.shipping_code)
    if facts.issued_id is not None:
        return await books.document(facts.issued_id)
    now = await session.now()
    today = _local(facts.time_zone, now)
    parties = {**_parties(order, facts), "issued_on": today.isoformat()}
    document = {
        "id": uuid7(),
        "user_id": order.user_id,
        "kind": "order",
        "status": "paid",
        "order_id": order.id,
        "refund_id": None,
        "credited_invoice_id": None,
        "currency": order.currency,
        "subtotal": order.total_amount - order.tax_amount,
        "tax": order.tax_amount,
        "amount": order.total_amount,
        "amount_paid": order.amount_paid,
        "finalized_at": now,
        "paid_at": now,
        "parties": parties,
        "tax_groups": order.pricing.get("tax_groups", []),
    }
    invoice = await books.issue(
        "invoice",
        prefix=facts.prefix or INVOICE_PREFIX,
        year=f"{today.year:04d}",
        document=document,
        lines=_invoice_lines(order, facts, parties["language"]),
    )
    events = [invoice_event(kind, invoice) for kind in (InvoiceCreated, InvoicePaid)]
    await emit_all(session, events, organization_id=order.organization_id)
    return invoice


async def credit_refund(session: ScopedSession, refund: Refund) -> Invoice | None:
    """Issue the credit note of a refund that has succeeded; the one it has, if it has one.

    A refund that the bank has returned and that is made again keeps its note: it was credited once.
    None when there is nothing to credit: nothing was given back, or the payment was never applied to its
    order, or the order has no invoice. Locks as `invoice_order` does.
    """
    books = LedgerRepository(session, refund.organization_id)
    facts = await books.crediting(refund)
    if facts.issued_id is not None:
        return await books.document(facts.issued_id)
    if not refund.amount or facts.invoice_id is None or facts.payment_status == "unapplied":
        return None
    now = await session.now()
    tax = sum(group["tax_amount"] for group in refund.tax_groups)
    today = _local(facts.time_zone, now)
    parties = {
        **(facts.parties or {}),
        "issued_on": today.isoformat(),
        "credited_number": facts.invoice_number,
        "reason": refund.reason,
    }
    document = {
        "id": uuid7(),
        "user_id": None,
        "kind": "credit_note",
        "status": "paid",
        "order_id": refund.order_id,
        "refund_id": refund.id,
        "credited_invoice_id": facts.invoice_id,
        "currency": refund.currency,
        "subtotal": refund.amount - tax,
        "tax": tax,
        "amount": refund.amount,
        "amount_paid": refund.amount,
        "finalized_at": now,
        "paid_at": now,
        "parties": parties,
        "tax_groups": list(refund.tax_groups),
    }
    note = await books.issue(
        "credit_note",
        prefix=facts.prefix or CREDIT_NOTE_PREFIX,
        year=f"{today.year:04d}",
        document=document,
        lines=_credit_lines(refund, facts, parties.get("language", "fr")),
    )
    events = [invoice_event(InvoiceCreated, note)]
    await emit_all(session, events, organization_id=refund.organization_id)
    return note


def _local(time_zone: str | None, now: datetime) -> date:
    """The day in the organisation's time zone."""
    try:
        zone: tzinfo = ZoneInfo(time_zone or TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return now.astimezone(zone).date()


def _parties(order: Order, facts: Invoicing) -> dict[str, Any]:
    """Seller and buyer as a document prints them, and what else of the order it needs."""
    seller = {"name": facts.organization, **(facts.seller or {})}
    address = order.billing_address or order.shipping_address or {}
    buyer = {name: address[name] for name in BUYER if address.get(name)}
    if order.customer_name and "name" not in buyer:
        buyer["name"] = order.customer_name
    return {
        "language": "fr" if seller.get("country") in {None, *FRENCH} else "en",
        "seller": seller,
        "buyer": buyer,
        "order_number": order.order_number,
        "prices_include_tax": order.prices_include_tax,
    }


def _invoice_lines(order: Order, facts: Invoicing, language: str) -> list[dict[str, Any]]:
    """The order's lines, and its shipping as the last one."""
    lines = [
        {
            "position": position,
            "description": _described(line),
            "quantity": line["quantity"],
            "unit_amount": line["unit_price"],
            **{
                name: line[name] for name in ("discount_amount", "tax_rate_bps", "tax_amount", "total_amount")
            },
        }
        for position, line in enumerate(facts.lines)
    ]
    shipping = order.pricing.get("shipping")
    if shipping is not None and shipping["amount"]:
        lines.append(
            {
                "position": len(lines),
                "description": facts.shipping_name or SHIPPING[language],
                "quantity": 1,
                "unit_amount": shipping["amount"],
                "discount_amount": 0,
                "tax_rate_bps": shipping["tax_rate_bps"],
                "tax_amount": shipping["tax_amount"],
                "total_amount": shipping["total_amount"],
            }
        )
    return lines


def _credit_lines(refund: Refund, facts: Crediting, language: str) -> list[dict[str, Any]]:
    """What is credited, by tax rate: the refunded lines, the shipping, and money given beyond them."""
    by_rate: dict[int, list[tuple[str, int]]] = {}
    for line in refund.lines:
        item = facts.items.get(line["item_id"], {"name": "", "sku": None, "tax_rate_bps": 0})
        named = f"{line['quantity']} x {_described(item)}"
        by_rate.setdefault(item["tax_rate_bps"], []).append((named, line["amount"]))
    if refund.shipping_amount and facts.shipping_rate_bps is not None:
        by_rate.setdefault(facts.shipping_rate_bps, []).append((SHIPPING[language], refund.shipping_amount))
    return _numbered(_taxed(refund, by_rate, GOODWILL[language]))


def _taxed(
    refund: Refund, by_rate: Mapping[int, Sequence[tuple[str, int]]], goodwill: str
) -> Iterable[tuple[str, int, int, int]]:
    """(description, rate, tax, total) of each part. The refund's tax groups decide what each rate comes to.

    A rate whose parts come to more than its group has left (an earlier goodwill took it) is one line.
    """
    left = refund.amount
    for group in refund.tax_groups:
        rate, gross = group["rate_bps"], group["gross_amount"]
        left -= gross
        parts = [(name, amount) for name, amount in by_rate.get(rate, ()) if amount]
        rest = gross - sum(amount for _, amount in parts)
        if rest < 0:
            parts = [("; ".join(name for name, _ in parts), gross)]
        elif rest:
            parts.append((goodwill, rest))
        taxes = allocate(group["tax_amount"], [amount for _, amount in parts])
        for (name, amount), tax in zip(parts, taxes, strict=True):
            yield name, rate, tax, amount
    if left:
        yield goodwill, 0, 0, left


def _numbered(parts: Iterable[tuple[str, int, int, int]]) -> list[dict[str, Any]]:
    return [
        {
            "position": position,
            "description": name,
            "quantity": 1,
            "unit_amount": amount,
            "discount_amount": 0,
            "tax_rate_bps": rate,
            "tax_amount": tax,
            "total_amount": amount,
        }
        for position, (name, rate, tax, amount) in enumerate(parts)
    ]


def _described(line: Mapping[str, Any]) -> str:
    """A line's name, with its article number."""
    return f"{line['name']} ({line['sku']})" if line["sku"] else str(line["name"])
