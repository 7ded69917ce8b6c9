"""Owns ending a subscription, and letting it go on after all."""

from contextlib import suppress
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request

from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Owner, OwnerSession, ScopedSession
from app.core.errors import Conflict
from app.models.billing import Subscription
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.billing.subscription import SubscriptionCancel, SubscriptionRead
from app.services.billing.paying.desk import no_subscription, organization_of
from app.services.billing.paying.reading import read_subscription
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import in_three_steps


class _AsWishedError(Exception):
    """It is already as it is wished to be."""


class CancelService:
    """Ends subscriptions and resumes them."""

    def __init__(self, session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal

    async def cancel(self, body: SubscriptionCancel, request: Request) -> SubscriptionRead:
        """End it with its period, or now; one that ends with its period already stays so.

        409 `no_subscription`.
        """
        return await self._do(request, partial(self._prepare_cancel, body))

    async def resume(self, request: Request) -> SubscriptionRead:
        """Let one go on that was to end. 409 `no_subscription`, `subscription_ended`."""
        return await self._do(request, self._prepare_resume)

    async def _do(self, request: Request, prepare: Any) -> SubscriptionRead:
        with suppress(_AsWishedError):
            await in_three_steps(self.session, self.database, request, prepare)
        return await read_subscription(self.session, organization_of(self.principal))

    async def _prepare_cancel(
        self, body: SubscriptionCancel, session: OwnerSession, command_id: UUID
    ) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        await CustomerRepository(session).lock(organization_id)
        subscription = await SubscriptionRepository(session).live(organization_id, lock=True)
        if subscription is None:
            raise no_subscription()
        if body.at == "period_end" and subscription.cancel_at_period_end:
            raise _AsWishedError
        details = {"feedback": body.reason, "comment": body.comment}
        kind = "subscription.cancel" if body.at == "now" else "subscription.cancel_at_period_end"
        return await _queue(
            session,
            subscription,
            kind,
            command_id,
            schedule=subscription.stripe_schedule_id,
            details={name: value for name, value in details.items() if value},
        )

    async def _prepare_resume(self, session: OwnerSession, command_id: UUID) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        await CustomerRepository(session).lock(organization_id)
        subscriptions = SubscriptionRepository(session)
        subscription = await subscriptions.live(organization_id, lock=True)
        if subscription is None:
            if await subscriptions.latest(organization_id) is None:
                raise no_subscription()
            raise Conflict("subscription_ended", "The subscription has ended; choose a plan with a checkout.")
        if not subscription.cancel_at_period_end:
            raise _AsWishedError
        return await _queue(session, subscription, "subscription.resume", command_id)


async def _queue(
    session: OwnerSession, subscription: Subscription, kind: str, command_id: UUID, **params: Any
) -> StripeCommandRow:
    return await queue_command(
        session,
        subscription.organization_id,
        kind,
        subject_type="subscription",
        subject_id=subscription.id,
        params={"subscription": subscription.stripe_subscription_id, **params},
        command_id=command_id,
        delay=IN_REQUEST,
    )


async def cancel_for_deletion(session: ScopedSession, organization_id: UUID) -> None:
    """Have the subscription of an organisation ended that is deleted, in the deletion's transaction."""
    subscription = await SubscriptionRepository(session).live(organization_id)
    if subscription is not None:
        await queue_command(
            session,
            organization_id,
            "subscription.cancel",
            subject_type="subscription",
            subject_id=subscription.id,
            params={"subscription": subscription.stripe_subscription_id},
        )


async def may_purge(session: ScopedSession, organization_id: UUID) -> bool:
    """Whether nothing of a deleted organisation is left at Stripe; else it is asked to forget it.

    While the subscription's end is not confirmed, and then until the customer is gone, the purge waits.
    """
    if await SubscriptionRepository(session).live(organization_id) is not None:
        return False
    customer = await CustomerRepository(session).of(organization_id)
    if customer is None or customer.stripe_customer_id is None:
        return True
    await queue_command(
        session,
        organization_id,
        "customer.delete",
        subject_type="customer",
        subject_id=organization_id,
        params={"customer": customer.stripe_customer_id},
    )
    return False


Cancels = Annotated[CancelService, Depends()]
