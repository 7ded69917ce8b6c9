"""Owns buying a plan on a hosted page: one page at a time, however many ask for it."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request

from app.clients.stripe import StripeError
from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.ids import uuid7
from app.models.billing import BillingCheckout, PlanPrice
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.plans import PlanRepository, PriceRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.billing.subscription import CheckoutCreate, CheckoutRead, SubscriptionRead
from app.services.billing.paying.catalog import ensure_catalog
from app.services.billing.paying.desk import organization_of, return_urls
from app.services.billing.paying.reading import read_subscription
from app.services.billing.subscriptions.customers import customer_params
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.effects import EventDead, EventUnresolved
from app.services.stripe_webhooks.executing import in_three_steps
from app.services.stripe_webhooks.processing import sync_object
from app.services.stripe_webhooks.refusals import answer_to, require_stripe

LEAST_LEFT = timedelta(minutes=5)
"""A page with less time than this is not handed out again."""

PATIENCE = timedelta(seconds=5)
PAUSE = 0.1


class _StandingError(Exception):
    """There is a checkout already that is answered with, if it sells what is wanted."""

    def __init__(self, checkout_id: UUID, wanted: UUID) -> None:
        super().__init__("standing")
        self.checkout_id = checkout_id
        self.wanted = wanted


class CheckoutService:
    """Sells plans."""

    def __init__(self, session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal

    async def create(self, body: CheckoutCreate, request: Request) -> tuple[CheckoutRead, bool]:
        """The page to pay on, and whether it is new.

        409 `subscription_exists`, `checkout_in_progress`; `plan_not_for_sale`; 422 `return_path_invalid`; 503
        `billing_not_configured`, `plan_not_sellable`, and what the payment provider says.
        """
        require_stripe()
        urls = return_urls(success_path=body.success_path, cancel_path=body.cancel_path)
        await self.session.rollback()
        try:
            await ensure_catalog(self.database)
        except StripeError as error:
            raise answer_to(error) from None
        try:
            command = await in_three_steps(
                self.session, self.database, request, partial(self._prepare, body, urls)
            )
        except _StandingError as standing:
            opened = await self._opened(standing.checkout_id)
            if opened.price_id != standing.wanted:
                # It has opened meanwhile, so the next request lets it expire and makes its own.
                raise _in_progress() from None
            return _read(opened), False
        return _read(await self._opened(command.subject_id)), True

    async def sync(self, session_id: str) -> SubscriptionRead:
        """Fetch what became of a page and apply it, as its event does. 404; 503."""
        require_stripe()
        organization_id = organization_of(self.principal)
        if await CheckoutRepository(self.session).by_session(organization_id, session_id) is None:
            raise NotFound()
        await self.session.rollback()
        hint = {"id": session_id, "object": "checkout.session"}
        try:
            await sync_object(self.database, "checkout.session.completed", hint)
        except StripeError as error:
            raise answer_to(error) from None
        except (EventDead, EventUnresolved):
            raise Conflict(
                "provider_out_of_sync", "What was bought is not known here; we are told, repeat later."
            ) from None
        return await read_subscription(self.session, organization_id)

    async def _prepare(
        self, body: CheckoutCreate, urls: dict[str, str], session: OwnerSession, command_id: UUID
    ) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        customer = await CustomerRepository(session).lock(organization_id)
        if await SubscriptionRepository(session).live(organization_id) is not None:
            raise Conflict("subscription_exists", "There is a subscription; change it instead.")
        price = await sellable_price(session, body.plan, body.interval, body.currency)
        await self._make_room(session, price)
        checkout = await CheckoutRepository(session).add(
            BillingCheckout(
                organization_id=organization_id,
                id=uuid7(),
                user_id=self.principal.user_id,
                price_id=price.id,
            )
        )
        plan = await PlanRepository(session).by_code(body.plan)
        trial_days = plan.trial_days if plan is not None and not customer.has_had_trial else 0
        params: dict[str, Any] = {
            **await customer_params(session, customer, self.principal.user_id),
            "price": price.stripe_price_id,
            "success_url": urls["success_path"],
            "cancel_url": urls["cancel_path"],
            "trial_days": trial_days,
            "automatic_tax": get_settings().stripe_automatic_tax,
            "metadata": {
                "organization_id": str(organization_id),
                "checkout_id": str(checkout.id),
                "user_id": str(self.principal.user_id),
            },
        }
        return await queue_command(
            session,
            organization_id,
            "checkout_session.create_subscription",
            subject_type="billing_checkout",
            subject_id=checkout.id,
            params=params,
            command_id=command_id,
            delay=IN_REQUEST,
        )

    async def _make_room(self, session: OwnerSession, price: PlanPrice) -> None:
        """Answer with the page of this price that is open, or let one that is in the way expire."""
        organization_id = organization_of(self.principal)
        checkouts = CheckoutRepository(session)
        standing = await checkouts.under_way(organization_id)
        if standing is None:
            return
        if standing.status == "creating":
            raise _StandingError(standing.id, price.id)
        has_time = standing.expires_at is not None and standing.expires_at > clock.now() + LEAST_LEFT
        if standing.price_id == price.id and has_time:
            raise _StandingError(standing.id, price.id)
        await checkouts.change(organization_id, standing.id, {"status": "expired"})
        await queue_command(
            session,
            organization_id,
            "billing_checkout.expire",
            subject_type="billing_checkout",
            subject_id=standing.id,
            params={"session": standing.stripe_session_id},
        )

    async def _opened(self, checkout_id: UUID) -> BillingCheckout:
        """The checkout once it is open; somebody else may be making it. 409 `checkout_in_progress`."""
        organization_id = organization_of(self.principal)
        until = clock.now() + PATIENCE
        while True:
            # No connection is held while waiting.
            async with self.database.owner(self.principal, autocommit=True) as session:
                found = await CheckoutRepository(session).find(organization_id, checkout_id)
            if found is not None and found.status in {"open", "complete"} and found.url is not None:
                return found
            if found is None or found.status != "creating" or clock.now() >= until:
                raise _in_progress()
            await asyncio.sleep(PAUSE)


def _in_progress() -> Conflict:
    """409 while somebody else is being given a page."""
    return Conflict(
        "checkout_in_progress",
        "Another checkout is just being made; repeat in a moment.",
        headers={"Retry-After": "2"},
    )


async def sellable_price(session: OwnerSession, plan: str, interval: str, currency: str) -> PlanPrice:
    """The price at which a plan is sold. 409 `plan_not_for_sale`; 503 `plan_not_sellable`."""
    price = await PriceRepository(session).find(plan, interval, currency)
    if price is None:
        raise Conflict("plan_not_for_sale", "This plan is not sold like this; see the price list.")
    if price.stripe_price_id is None or price.drift is not None:
        raise Unavailable(
            "plan_not_sellable",
            "This plan cannot be bought at the moment; we are told.",
            headers={"Retry-After": "600"},
        )
    return price


def _read(checkout: BillingCheckout) -> CheckoutRead:
    assert checkout.url is not None  # noqa: S101 - it is open
    assert checkout.stripe_session_id is not None  # noqa: S101 - as above
    assert checkout.expires_at is not None  # noqa: S101 - as above
    return CheckoutRead(
        url=checkout.url, session_id=checkout.stripe_session_id, expires_at=checkout.expires_at
    )


Checkouts = Annotated[CheckoutService, Depends()]
