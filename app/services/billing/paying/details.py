"""Owns who pays, as it stands on the platform's invoices."""

from typing import Annotated, Any

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid
from app.models.billing import BillingCustomer
from app.repositories.billing.customers import CustomerRepository
from app.schemas.billing.payment_methods import BillingDetailsRead, BillingDetailsUpdate
from app.services.billing.paying.desk import organization_of
from app.services.stripe_webhooks.commands import queue_command

COLUMNS = ("name", "email", "address", "tax_id_type", "tax_id")


class DetailsService:
    """Keeps the payer's details, and has them written to Stripe."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.customers = CustomerRepository(session)

    async def get(self) -> BillingDetailsRead:
        """The details; empty before their first use."""
        row = await self.customers.of(organization_of(self.principal))
        return _read(row)

    async def update(self, body: BillingDetailsUpdate) -> BillingDetailsRead:
        """Change what was sent; nothing is written when nothing differs. 422 `tax_id_incomplete`."""
        organization_id = organization_of(self.principal)
        row = await self.customers.lock(organization_id)
        sent: dict[str, Any] = body.changes()
        if sent.get("address") is not None:
            sent["address"] = sent["address"].model_dump(exclude_none=True)
        changed = {name: value for name, value in sent.items() if value != getattr(row, name)}
        if not changed:
            return _read(row)
        after = {name: changed.get(name, getattr(row, name)) for name in COLUMNS}
        if (after["tax_id"] is None) != (after["tax_id_type"] is None):
            detail = "A tax number and its type come together."
            raise Invalid(
                "tax_id_incomplete", detail, errors=[FieldError("/tax_id", "tax_id_incomplete", detail)]
            )
        await self.customers.change(organization_id, {**changed, "synced_at": None})
        await self.session.refresh(row)
        if row.stripe_customer_id is not None:
            await self._tell_stripe(row)
        return _read(row)

    async def _tell_stripe(self, row: BillingCustomer) -> None:
        await queue_command(
            self.session,
            row.organization_id,
            "customer.update",
            subject_type="customer",
            subject_id=row.organization_id,
            params={
                "customer": row.stripe_customer_id,
                "name": row.name,
                "email": row.email,
                "address": _stripe_address(row.address),
                "version": row.updated_at.isoformat(),
            },
        )


def _stripe_address(address: dict[str, Any] | None) -> dict[str, Any] | None:
    """The address in Stripe's words."""
    if address is None:
        return None
    return {("state" if name == "region" else name): value for name, value in address.items()}


def _read(row: BillingCustomer | None) -> BillingDetailsRead:
    shown = {name: getattr(row, name) if row is not None else None for name in COLUMNS}
    is_synced = row is None or row.stripe_customer_id is None or row.synced_at is not None
    return BillingDetailsRead.model_validate({**shown, "is_synced": is_synced})


Details = Annotated[DetailsService, Depends()]
