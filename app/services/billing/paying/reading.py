"""Owns how an organisation's subscription is shown, with what is used of its plan."""

from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import ScopedSession
from app.models.billing import Subscription
from app.repositories.billing.plans import PriceRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.repositories.billing.usage import UsageRepository
from app.schemas.billing.subscription import PendingChange, SubscriptionRead, UsageSummary
from app.services.billing.access import grace_ends_at
from app.services.billing.entitlements import Entitlements, entitlements
from app.services.billing.periods import meter_period


async def read_subscription(session: ScopedSession, organization_id: UUID) -> SubscriptionRead:
    """The live subscription and what it gives; without one the free plan, or the one of a contract."""
    row = await SubscriptionRepository(session).live(organization_id)
    plan = await entitlements(session, organization_id)
    usage = [
        UsageSummary(metric=metric, used=used, limit=plan.limits.get(metric))
        for metric, used in (await used_of(session, organization_id, plan)).items()
    ]
    prices = PriceRepository(session)
    price = None if row is None else await prices.get(row.price_id)
    shown: dict[str, Any] = {
        "interval": price.billing_interval if price else None,
        "amount": price.unit_amount if price else None,
        "currency": price.currency if price else None,
    }
    return SubscriptionRead(
        plan=plan.plan,
        status=row.status if row else None,
        access=plan.access,
        **shown,
        current_period_start=row.current_period_start if row else None,
        current_period_end=row.current_period_end if row else None,
        cancel_at_period_end=row.cancel_at_period_end if row else False,
        cancel_at=row.cancel_at if row else None,
        trial_end=row.trial_end if row else None,
        grace_ends_at=grace_ends_at(row.past_due_since)
        if row is not None and row.past_due_since is not None and plan.access == "grace"
        else None,
        pending_change=await _pending(prices, row),
        usage_summary=usage,
    )


async def used_of(session: ScopedSession, organization_id: UUID, plan: Entitlements) -> dict[str, int]:
    """What is used of every limit that the plan names: counted in this period, or there now."""
    now = clock.now()
    usage = UsageRepository(session, organization_id)
    counted = await usage.counters(meter_period(plan.meter_anchor_at, now).name)
    used = {**counted, **await usage.gauges(now)}
    return {metric: used.get(metric, 0) for metric in sorted(plan.limits) if metric != "audit_days"}


async def _pending(prices: PriceRepository, row: Subscription | None) -> PendingChange | None:
    if row is None or row.pending_price_id is None or row.pending_effective_at is None:
        return None
    price = await prices.get(row.pending_price_id)
    if price is None:
        return None
    return PendingChange.model_validate(
        {
            "plan": price.plan_code,
            "interval": price.billing_interval,
            "effective_at": row.pending_effective_at,
        }
    )
