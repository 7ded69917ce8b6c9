"""Owns whose customer at Stripe an organisation is."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from app.clients.stripe import stripe_client
from app.core.database import ScopedSession
from app.models.billing import BillingCustomer
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.services.billing.subscriptions.fetching import id_of
from app.services.stripe_webhooks.binding import bind

logger = structlog.get_logger(__name__)


def known_customer(row: BillingCustomer) -> str | None:
    """The customer of this Stripe; one that the sandbox made is none once there is a real key."""
    return row.stripe_customer_id if stripe_client().owns(row.stripe_customer_id) else None


async def customer_params(
    session: ScopedSession, row: BillingCustomer, user_id: UUID | None
) -> dict[str, Any]:
    """What a call needs that works for a customer: who it is, or what one is made of."""
    customers = CustomerRepository(session)
    mail = row.email or (await customers.address_of(user_id) if user_id else None)
    return {
        "customer": known_customer(row),
        "customer_key": f"customer-{row.organization_id}-{int(row.created_at.timestamp())}",
        "organization_id": str(row.organization_id),
        "email": mail,
        "name": row.name or await customers.organization_name(row.organization_id),
    }


async def bind_customer(
    session: ScopedSession, organization_id: UUID, customer_id: str, *, livemode: bool
) -> None:
    """Write that this is the organisation's customer; CustomerConflict when it is another's."""
    customers = CustomerRepository(session)
    row = await customers.lock(organization_id)
    if row.stripe_customer_id == customer_id:
        return
    await bind(session, customer_id, "customer", organization_id)
    if known_customer(row) is None:
        await customers.change(organization_id, {"stripe_customer_id": customer_id, "livemode": livemode})


async def apply_customer(
    session: ScopedSession, organization_id: UUID, fetched: dict[str, Any], fetched_at: datetime
) -> str | None:
    """Take over what was changed at Stripe: the default method; a deleted customer is unbound."""
    customers = CustomerRepository(session)
    row = await customers.lock(organization_id)
    if row.stripe_customer_id != fetched["id"]:
        return "not_bound"
    if fetched.get("deleted"):
        await unbind_customer(session, organization_id, fetched_at)
        return None
    settings = fetched.get("invoice_settings") or {}
    methods = PaymentMethodRepository(session)
    chosen = id_of(settings.get("default_payment_method"))
    method = None if chosen is None else await methods.by_stripe_id(organization_id, chosen)
    if method is not None and method.detached_at is None and not method.is_default:
        await methods.set_default(organization_id, method.id)
    return None


async def unbind_customer(session: ScopedSession, organization_id: UUID, now: datetime) -> None:
    """Forget a customer that is gone. The next one is another: `created_at` is part of its key."""
    logger.warning("Alert: a customer was deleted at Stripe", organization_id=str(organization_id))
    await CustomerRepository(session).change(
        organization_id, {"stripe_customer_id": None, "synced_at": None, "created_at": now}
    )
