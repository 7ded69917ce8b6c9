"""Owns changing the plan: upgrades at once, downgrades when the period ends, and taking those back."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request

from app.clients.stripe import StripeError, stripe_client
from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import Conflict, PaymentRequired
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.billing.subscription import SubscriptionChange, SubscriptionRead
from app.services.billing.paying.changes import judge_change, read_preview
from app.services.billing.paying.desk import no_subscription, organization_of
from app.services.billing.paying.reading import read_subscription
from app.services.billing.subscriptions.fetching import SUBSCRIPTION, id_of
from app.services.billing.subscriptions.invoices import intent_of
from app.services.stripe_webhooks.asking import is_being_told
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import in_three_steps
from app.services.stripe_webhooks.refusals import answer_to, require_stripe

CHANGES = ("subscription.update", "schedule.create", "schedule.release")
"""Commands that change the plan, now or later."""


class _NothingPendingError(Exception):
    """There is no change to take back."""


class ChangeService:
    """Changes plans."""

    def __init__(self, session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal

    async def change(self, body: SubscriptionChange, request: Request) -> SubscriptionRead:
        """Change the plan. Refusals of `judge_change` and `read_preview`; 402 `card_declined`,
        `payment_action_required`, with the plan as it was; 409 `change_in_progress`.
        """
        command = await in_three_steps(self.session, self.database, request, partial(self._prepare, body))
        changed = (command.result or {}).get(SUBSCRIPTION) or {}
        if changed.get("pending_update"):
            await self.session.rollback()
            raise await _unpaid(id_of(changed.get("latest_invoice")))
        return await read_subscription(self.session, organization_of(self.principal))

    async def take_back(self, request: Request) -> None:
        """Let the plan stay as it is; nothing happens where no change is to come. 409 `no_subscription`."""
        try:
            await in_three_steps(self.session, self.database, request, self._prepare_release)
        except _NothingPendingError:
            return

    async def _prepare(
        self, body: SubscriptionChange, session: OwnerSession, command_id: UUID
    ) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        await CustomerRepository(session).lock(organization_id)
        change = await judge_change(session, organization_id, body.plan, body.interval, lock=True)
        subscription = change.subscription
        if await is_being_told(session, organization_id, *CHANGES):
            # What it would cost hangs on how that one ends.
            raise Conflict(
                "change_in_progress",
                "The plan is just being changed; look at the subscription in a moment.",
                headers={"Retry-After": "2"},
            )
        params: dict[str, Any] = {
            "subscription": subscription.stripe_subscription_id,
            "item": subscription.stripe_item_id,
            "price": change.target.stripe_price_id,
            "current_price": change.current.stripe_price_id,
            "schedule": subscription.stripe_schedule_id,
        }
        kind = "schedule.create"
        if change.is_upgrade:
            kind = "subscription.update"
            params["proration_date"] = read_preview(change, body.preview_token).proration_date
        return await queue_command(
            session,
            organization_id,
            kind,
            subject_type="subscription",
            subject_id=subscription.id,
            params=params,
            command_id=command_id,
            delay=IN_REQUEST,
        )

    async def _prepare_release(self, session: OwnerSession, command_id: UUID) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        await CustomerRepository(session).lock(organization_id)
        subscription = await SubscriptionRepository(session).live(organization_id, lock=True)
        if subscription is None:
            raise no_subscription()
        if subscription.stripe_schedule_id is None:
            raise _NothingPendingError
        return await queue_command(
            session,
            organization_id,
            "schedule.release",
            subject_type="subscription",
            subject_id=subscription.id,
            params={
                "subscription": subscription.stripe_subscription_id,
                "schedule": subscription.stripe_schedule_id,
            },
            command_id=command_id,
            delay=IN_REQUEST,
        )


async def _unpaid(invoice_id: str | None) -> PaymentRequired:
    """Why an upgrade waits for its payment. Secrets are fetched for this answer and kept nowhere."""
    client = require_stripe()
    invoice: dict[str, Any] = {}
    intent: dict[str, Any] = {}
    try:
        if invoice_id is not None:
            expand = {"expand": ["payments"]}
            invoice = await client.call("invoices.retrieve", invoice_id, params=expand)
        if (intent_id := intent_of(invoice)) is not None:
            intent = await stripe_client().call("payment_intents.retrieve", intent_id)
    except StripeError as error:
        raise answer_to(error) from None
    page = invoice.get("hosted_invoice_url")
    if intent.get("status") == "requires_action":
        return PaymentRequired(
            "payment_action_required",
            "The payment has to be confirmed with the bank; the plan changes then.",
            client_secret=intent.get("client_secret"),
            hosted_invoice_url=page,
        )
    declined = intent.get("last_payment_error") or {}
    return PaymentRequired(
        "card_declined",
        "The card was declined; use another one, or ask its bank. The plan is as it was.",
        decline_code=declined.get("decline_code") or "generic_decline",
        hosted_invoice_url=page,
    )


Changes = Annotated[ChangeService, Depends()]
