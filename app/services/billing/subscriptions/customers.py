"""Owns whose customer at Stripe an organisation is."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from app.clients.stripe import StripeNotConfigured, stripe_client
from app.core.database import ScopedSession
from app.models.billing import BillingCustomer
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.services.billing.subscriptions.fetching import id_of
from app.services.stripe_webhooks.asking import is_being_told
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.commands import queue_command

logger = structlog.get_logger(__name__)

DETAILS = ("name", "email", "address", "tax_id_type", "tax_id")
"""Columns that say who pays."""

ADDRESS = ("line1", "line2", "postal_code", "city", "region", "country")

TELL_DETAILS = "customer.update"
SET_DEFAULT = "customer.set_default_payment_method"


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
    if known_customer(row) is not None:
        return
    await customers.change(organization_id, {"stripe_customer_id": customer_id, "livemode": livemode})
    await session.refresh(row)
    if any(getattr(row, name) is not None for name in DETAILS):
        # They were given before there was anybody to tell.
        await tell_stripe_details(session, row)


async def tell_stripe_details(session: ScopedSession, row: BillingCustomer) -> None:
    """Have Stripe print these details from now on; nothing while there is no customer. Of a locked row."""
    try:
        customer = known_customer(row)
    except StripeNotConfigured:
        return
    if customer is None:
        return
    await queue_command(
        session,
        row.organization_id,
        TELL_DETAILS,
        subject_type="customer",
        subject_id=row.organization_id,
        params={
            "customer": customer,
            "name": row.name,
            "email": row.email,
            "address": _stripe_address(row.address),
            "tax_id": {"type": row.tax_id_type, "value": row.tax_id} if row.tax_id else None,
            "version": row.updated_at.isoformat(),
        },
    )


def _stripe_address(address: dict[str, Any] | None) -> dict[str, Any] | None:
    """The address in Stripe's words."""
    if address is None:
        return None
    return {("state" if name == "region" else name): value for name, value in address.items()}


async def apply_customer(
    session: ScopedSession, organization_id: UUID, fetched: dict[str, Any], fetched_at: datetime
) -> str | None:
    """Take over what was changed at Stripe: default method and details; a deleted customer is unbound."""
    customers = CustomerRepository(session)
    row = await customers.lock(organization_id)
    if row.stripe_customer_id != fetched["id"]:
        return "not_bound"
    if fetched.get("deleted"):
        await unbind_customer(session, organization_id, fetched_at)
        return None
    if not await is_being_told(session, organization_id, SET_DEFAULT):
        await _take_default(session, organization_id, fetched)
    await _take_details(session, row, fetched, fetched_at)
    return None


async def _take_default(session: ScopedSession, organization_id: UUID, fetched: dict[str, Any]) -> None:
    settings = fetched.get("invoice_settings") or {}
    methods = PaymentMethodRepository(session)
    chosen = id_of(settings.get("default_payment_method"))
    method = None if chosen is None else await methods.by_stripe_id(organization_id, chosen)
    if method is not None and method.detached_at is None and not method.is_default:
        await methods.set_default(organization_id, method.id)


async def _take_details(
    session: ScopedSession, row: BillingCustomer, fetched: dict[str, Any], fetched_at: datetime
) -> None:
    """Let details be what a payer entered at Stripe, unless what is here is newer or on its way there.

    Where none were given here, only the address is taken: name and address for mail are ours by default.
    """
    if await is_being_told(session, row.organization_id, TELL_DETAILS):
        return
    is_told = row.synced_at is not None and row.synced_at < fetched_at
    has_none = all(getattr(row, name) is None for name in DETAILS)
    found: dict[str, Any] = {}
    if is_told:
        found = {"name": fetched.get("name"), "email": fetched.get("email")}
    if is_told or has_none:
        found |= _own_address(fetched.get("address"))
    changed = {name: value for name, value in found.items() if value != getattr(row, name)}
    if changed:
        changed["synced_at"] = fetched_at
        await CustomerRepository(session).change(row.organization_id, changed)


def _own_address(address: dict[str, Any] | None) -> dict[str, Any]:
    """The column of an address of Stripe; empty for one that is not whole, as of a card's country alone."""
    if address is None or not address.get("line1") or not address.get("country"):
        return {}
    words = {("region" if name == "state" else name): value for name, value in address.items() if value}
    return {"address": {name: words[name] for name in ADDRESS if name in words}}


async def unbind_customer(session: ScopedSession, organization_id: UUID, now: datetime) -> None:
    """Forget a customer that is gone. The next one is another: `created_at` is part of its key."""
    logger.warning("Alert: a customer was deleted at Stripe", organization_id=str(organization_id))
    await CustomerRepository(session).change(
        organization_id,
        {"stripe_customer_id": None, "synced_at": None, "sync_error": None, "created_at": now},
    )
