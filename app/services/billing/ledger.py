"""Owns what enters the revenue ledger: one entry for each movement of money, once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from app.core.database import ScopedSession
from app.core.ids import uuid7
from app.repositories.billing.ledger import LedgerRepository

Source = Literal["order", "design_sale", "custom", "subscription", "api_usage"]
Account = Literal["merchant", "platform"]
EntryType = Literal["charge", "refund", "refund_reversal", "dispute", "dispute_reversal", "fee", "adjustment"]


async def stands(
    session: ScopedSession, organization_id: UUID, entry_type: EntryType, source_ref: str
) -> bool:
    """Whether a movement of money was written down before."""
    return await LedgerRepository(session, organization_id).stands(entry_type, source_ref)


async def record(  # noqa: PLR0913 - an entry has so many columns, and each is named
    session: ScopedSession,
    organization_id: UUID,
    *,
    source: Source,
    account: Account,
    entry_type: EntryType,
    amount: int,
    currency: str,
    source_ref: str,
    recorded_at: datetime,
    user_id: UUID | None = None,
    order_id: UUID | None = None,
    invoice_id: UUID | None = None,
    stripe_payment_intent_id: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bool:
    """Write down a movement of money in the caller's transaction; False when it stood there already.

    `amount` is in minor units: money received is positive, money given back negative. `source_ref` is the id
    of the movement's cause (an intent, an invoice, a refund, a dispute, a row of a payment by hand); with
    `entry_type` it is written once. `merchant` is what the organisation earns, `platform` what it pays us:
    subscriptions and API usage belong to the second, all else to the first.
    """
    return await LedgerRepository(session, organization_id).record(
        {
            "id": uuid7(),
            "user_id": user_id,
            "source": source,
            "account": account,
            "entry_type": entry_type,
            "amount": amount,
            "currency": currency,
            "description": description,
            "source_ref": source_ref,
            "stripe_payment_intent_id": stripe_payment_intent_id,
            "order_id": order_id,
            "invoice_id": invoice_id,
            "metadata": dict(metadata or {}),
            "recorded_at": recorded_at,
        }
    )
