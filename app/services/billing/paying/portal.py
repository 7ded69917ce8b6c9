"""Owns the way to Stripe's portal, where a payer sees to methods and to the end of a subscription."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request

from app.clients.stripe import StripeError
from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import Unavailable
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.billing.subscription import HostedPage, PortalCreate
from app.services.billing.paying.desk import no_subscription, organization_of, return_urls
from app.services.billing.paying.portal_settings import switching, switching_portals
from app.services.billing.subscriptions.customers import customer_params
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import in_three_steps
from app.services.stripe_webhooks.reconciling import note_difference
from app.services.stripe_webhooks.refusals import answer_to, require_stripe


class PortalService:
    """Opens the portal for an organisation."""

    def __init__(self, session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal

    async def create(self, body: PortalCreate, request: Request) -> HostedPage:
        """The portal's address. 409 `no_subscription` for its cancellation; 503 `portal_misconfigured`."""
        client = require_stripe()
        url = return_urls(return_path=body.return_path)["return_path"]
        await self.session.rollback()
        try:
            wrong = await switching_portals(client)
        except StripeError as error:
            raise answer_to(error) from None
        if wrong:
            async with self.database.transaction() as system:
                await note_difference(system, switching(wrong[0]))
            raise Unavailable(
                "portal_misconfigured", "The payment pages are set up wrongly; try later, we are told."
            )

        async def prepare(session: OwnerSession, command_id: UUID) -> StripeCommandRow:
            return await self._prepare(body, url, session, command_id)

        command = await in_three_steps(self.session, self.database, request, prepare)
        return HostedPage(url=(command.result or {})["url"])

    async def _prepare(
        self, body: PortalCreate, url: str, session: OwnerSession, command_id: UUID
    ) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        customer = await CustomerRepository(session).lock(organization_id)
        flow: dict[str, Any] | None = None if body.flow is None else {"type": body.flow}
        if flow is not None and body.flow == "subscription_cancel":
            subscription = await SubscriptionRepository(session).live(organization_id)
            if subscription is None:
                raise no_subscription()
            flow["subscription_cancel"] = {"subscription": subscription.stripe_subscription_id}
        return await queue_command(
            session,
            organization_id,
            "portal_session.create",
            subject_type="customer",
            subject_id=organization_id,
            params={
                **await customer_params(session, customer, self.principal.user_id),
                "return_url": url,
                "flow": flow,
            },
            command_id=command_id,
            delay=IN_REQUEST,
        )


Portals = Annotated[PortalService, Depends()]
