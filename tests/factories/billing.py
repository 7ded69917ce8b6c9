"""Plans of organisations for tests; each function commits what it made."""

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import (
    BillingCheckout,
    Invoice,
    PaymentMethod,
    PlanGrant,
    PlanPrice,
    RevenueEntry,
    Subscription,
)
from tests.factories.products import Owner


async def make_invoice(db: SystemSession, *, owner: Owner, **columns: Any) -> Invoice:
    """A paid invoice of an order that is gone, with one line; `columns` override anything."""
    invoice_id = uuid7()
    values: dict[str, Any] = {
        "kind": "order",
        "status": "paid",
        "invoice_number": f"TST-2026-{secrets.randbelow(10**9):09d}",
        "order_id": uuid7(),
        "currency": "EUR",
        "subtotal": 1000,
        "tax": 200,
        "amount": 1200,
        "amount_paid": 1200,
        "paid_at": clock.now(),
        "parties": {"language": "fr", "seller": {"name": "Maison"}, "buyer": {"name": "Anna Martin"}},
        "tax_groups": [{"rate_bps": 2000, "net_amount": 1000, "tax_amount": 200, "gross_amount": 1200}],
        **columns,
    }
    invoice = Invoice(organization_id=owner.organization_id, id=invoice_id, **values)
    db.add(invoice)
    await db.commit()
    return invoice


async def make_entry(db: SystemSession, *, owner: Owner, **columns: Any) -> RevenueEntry:
    """A charge of an order in the ledger; `columns` override anything."""
    values: dict[str, Any] = {
        "source": "order",
        "account": "merchant",
        "entry_type": "charge",
        "amount": 1200,
        "currency": "EUR",
        "source_ref": str(uuid7()),
        "recorded_at": clock.now(),
        **columns,
    }
    entry = RevenueEntry(organization_id=owner.organization_id, id=uuid7(), **values)
    db.add(entry)
    await db.commit()
    return entry


async def make_payment_method(db: SystemSession, *, owner: Owner) -> PaymentMethod:
    """A card of an organisation, which is not its default."""
    method = PaymentMethod(
        organization_id=owner.organization_id,
        id=uuid7(),
        type="card",
        stripe_payment_method_id=f"pm_sbx_{uuid7().hex}",
        last4="4242",
        brand="visa",
        expiry_month=4,
        expiry_year=2030,
    )
    db.add(method)
    await db.commit()
    return method


async def make_checkout(db: SystemSession, *, owner: Owner) -> BillingCheckout:
    """A page of checkout whose time is over."""
    price = (await db.scalars(select(PlanPrice).order_by(PlanPrice.lookup_key).limit(1))).one()
    checkout = BillingCheckout(
        organization_id=owner.organization_id,
        id=uuid7(),
        price_id=price.id,
        status="expired",
        stripe_session_id=f"cs_test_sbx{uuid7().hex}",
    )
    db.add(checkout)
    await db.commit()
    return checkout


async def grant_plan(db: SystemSession, organization_id: UUID, plan: str) -> PlanGrant:
    """Give an organisation a plan from a minute ago on, without an end."""
    grant = PlanGrant(
        organization_id=organization_id,
        id=uuid7(),
        plan_code=plan,
        starts_at=clock.now() - timedelta(minutes=1),
        ends_at=None,
        note="for a test",
        granted_by="tests",
    )
    db.add(grant)
    await db.commit()
    return grant


async def subscribe(db: SystemSession, organization_id: UUID, plan: str, **columns: Any) -> Subscription:
    """Give an organisation an active subscription of a plan; `columns` override anything."""
    price = await db.scalar(select(PlanPrice.id).where(PlanPrice.plan_code == plan).limit(1))
    values: dict[str, Any] = {
        "status": "active",
        "meter_anchor_at": clock.now(),
        "stripe_subscription_id": f"sub_sbx_{uuid7().hex}",
        **columns,
    }
    subscription = Subscription(
        organization_id=organization_id, id=uuid7(), plan_code=plan, price_id=price, **values
    )
    db.add(subscription)
    await db.commit()
    return subscription
