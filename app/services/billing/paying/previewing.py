"""Owns what a change of plan would cost, before anybody decides."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.clients.stripe import StripeClient, StripeError
from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.repositories.billing.plans import PlanRepository
from app.schemas.billing.subscription import Fit, NextInvoice, PreviewCreate, PreviewLine, PreviewRead
from app.services.billing.entitlements import entitlements
from app.services.billing.paying.changes import (
    Change,
    Preview,
    judge_change,
    preview_minutes,
    sign_preview,
)
from app.services.billing.paying.desk import organization_of
from app.services.billing.paying.reading import used_of
from app.services.billing.subscriptions.fetching import moment
from app.services.stripe_webhooks.refusals import answer_to, require_stripe


class PreviewService:
    """Asks Stripe what a change would cost."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def preview(self, body: PreviewCreate) -> PreviewRead:
        """What would be paid now and next, and what does not fit. Refusals of `judge_change`."""
        client = require_stripe()
        organization_id = organization_of(self.principal)
        change = await judge_change(self.session, organization_id, body.plan, body.interval)
        fits = await self._fits(organization_id, body.plan)
        # What was read stays readable without its transaction, which is not kept open during the call.
        self.session.expunge_all()
        await self.session.rollback()
        expires_at = clock.now() + timedelta(minutes=preview_minutes())
        if not change.is_upgrade:
            return _later(change, fits, expires_at)
        try:
            invoice = await _ask(client, change)
        except StripeError as error:
            raise answer_to(error) from None
        return _now(change, fits, expires_at, invoice)

    async def _fits(self, organization_id: UUID, plan_code: str) -> list[Fit]:
        """Of what more is used than the other plan gives."""
        plan = await PlanRepository(self.session).by_code(plan_code)
        assert plan is not None  # noqa: S101 - the change to it was judged
        used = await used_of(self.session, organization_id, await entitlements(self.session, organization_id))
        limits = {metric: plan.limits.get(metric) for metric in used}
        return [
            Fit(metric=metric, used=used[metric], new_limit=limit)
            for metric, limit in limits.items()
            if limit is not None and used[metric] > limit
        ]


async def _ask(client: StripeClient, change: Change) -> dict[str, Any]:
    item = {"id": change.subscription.stripe_item_id, "price": change.target.stripe_price_id}
    params = {
        "subscription": change.subscription.stripe_subscription_id,
        "subscription_details": {"items": [item], "proration_behavior": "always_invoice"},
    }
    return await client.call("invoices.create_preview", params=params)


def _now(change: Change, fits: list[Fit], expires_at: datetime, invoice: dict[str, Any]) -> PreviewRead:
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    date = details.get("subscription_proration_date") or int(clock.now().timestamp())
    is_same_term = change.current.billing_interval == change.target.billing_interval
    ends = max((line["period"]["end"] for line in invoice["lines"]["data"]), default=date)
    next_at = change.subscription.current_period_end if is_same_term else moment(ends)
    preview = Preview(date, invoice["amount_due"])
    return PreviewRead(
        amount_due_now=invoice["amount_due"],
        currency=change.target.currency,
        next_invoice=NextInvoice(amount=change.target.unit_amount, at=next_at or expires_at),
        lines=[
            PreviewLine(description=line.get("description") or "", amount=line["amount"])
            for line in invoice["lines"]["data"]
        ],
        fit_check=fits,
        effective_at=moment(date) or expires_at,
        preview_token=sign_preview(change, preview, expires_at),
        expires_at=expires_at,
    )


def _later(change: Change, fits: list[Fit], expires_at: datetime) -> PreviewRead:
    ends_at = change.subscription.current_period_end or expires_at
    return PreviewRead(
        amount_due_now=0,
        currency=change.target.currency,
        next_invoice=NextInvoice(amount=change.target.unit_amount, at=ends_at),
        lines=[],
        fit_check=fits,
        effective_at=ends_at,
        preview_token=sign_preview(change, Preview(0, 0), expires_at),
        expires_at=expires_at,
    )


Previews = Annotated[PreviewService, Depends()]
