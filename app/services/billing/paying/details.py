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
from app.services.billing.subscriptions.customers import DETAILS, TELL_DETAILS, tell_stripe_details
from app.services.stripe_webhooks.asking import is_being_told


class DetailsService:
    """Keeps the payer's details, and has them written to Stripe."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.customers = CustomerRepository(session)

    async def get(self) -> BillingDetailsRead:
        """The details; empty before their first use."""
        row = await self.customers.of(organization_of(self.principal))
        return await self._read(row)

    async def update(self, body: BillingDetailsUpdate) -> BillingDetailsRead:
        """Change what was sent. What is here already, and not at Stripe, is told once more.

        422 `tax_id_incomplete`.
        """
        organization_id = organization_of(self.principal)
        row = await self.customers.lock(organization_id)
        sent: dict[str, Any] = body.changes()
        if sent.get("address") is not None:
            sent["address"] = sent["address"].model_dump(exclude_none=True)
        changed = {name: value for name, value in sent.items() if value != getattr(row, name)}
        if not changed:
            await self._tell_again(row)
            return await self._read(row)
        after = {name: changed.get(name, getattr(row, name)) for name in DETAILS}
        if (after["tax_id"] is None) != (after["tax_id_type"] is None):
            detail = "A tax number and its type come together."
            raise Invalid(
                "tax_id_incomplete", detail, errors=[FieldError("/tax_id", "tax_id_incomplete", detail)]
            )
        await self.customers.change(organization_id, {**changed, "synced_at": None, "sync_error": None})
        await self.session.refresh(row)
        await tell_stripe_details(self.session, row)
        return await self._read(row)

    async def _tell_again(self, row: BillingCustomer) -> None:
        """Repeat what Stripe has refused or has never heard."""
        if row.synced_at is None and not await is_being_told(self.session, row.organization_id, TELL_DETAILS):
            await tell_stripe_details(self.session, row)

    async def _read(self, row: BillingCustomer | None) -> BillingDetailsRead:
        shown = {name: getattr(row, name) if row is not None else None for name in DETAILS}
        is_synced = row is None or row.stripe_customer_id is None or row.synced_at is not None
        sync_error = row.sync_error if row is not None else None
        if row is not None and not is_synced and sync_error is None and not any(shown.values()):
            # There is nothing to tell, unless details that were told before are to be removed.
            is_synced = not await is_being_told(self.session, row.organization_id, TELL_DETAILS)
        return BillingDetailsRead.model_validate({**shown, "is_synced": is_synced, "sync_error": sync_error})


Details = Annotated[DetailsService, Depends()]
