"""Owns what is counted against the limits of plans: each thing once, and never above the limit."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from app.core.config import get_settings
from app.core.database import ScopedSession
from app.core.errors import PaymentRequired
from app.core.events import emit
from app.core.quotas import Quota, note_quota
from app.repositories.billing.usage import Counted, UsageRepository, Use
from app.services.billing.entitlements import (
    check_gauge,
    entitlements,
    subscription_inactive,
    upgrade_url,
)
from app.services.billing.events import UsageThresholdReached
from app.services.billing.periods import MeterPeriod, meter_period

Counter = Literal["ai_generations", "orders", "ar_views", "renders", "api_calls", "analytics_events"]
"""What is counted per period."""

THRESHOLDS = (100, 80)
"""Shares of a limit, in per cent, that are told of once per period."""


async def count(
    session: ScopedSession,
    organization_id: UUID,
    metric: Counter,
    quantity: int,
    operation_id: UUID | str,
    *,
    may_refuse: bool = True,
    subject: str | None = None,
) -> bool:
    """Count something that is done in the caller's transaction; False when it was counted already.

    `operation_id` is the id of what is done, never of the request. 402 `quota_exceeded`, unless
    `may_refuse` is false: what has happened already is counted above the limit too.
    """
    meter = Meter(session, organization_id, metric)
    counted = await meter.add(str(operation_id), quantity, may_refuse=may_refuse, subject=subject)
    return counted.is_new


async def reserve(
    session: ScopedSession,
    organization_id: UUID,
    metric: Counter,
    quantity: int,
    operation_id: UUID | str,
    *,
    subject: str | None = None,
) -> bool:
    """Set quota aside for work that begins; False when it is reserved or counted already.

    A reservation that is neither confirmed nor released in USAGE_RESERVATION_MINUTES is given back. One that
    was released may be reserved again. 402 `quota_exceeded`.
    """
    kept = timedelta(minutes=get_settings().usage_reservation_minutes)
    meter = Meter(session, organization_id, metric)
    return (await meter.add(str(operation_id), quantity, subject=subject, kept=kept)).is_new


async def confirm(session: ScopedSession, organization_id: UUID, operation_id: UUID | str) -> bool:
    """The reserved work is done: it counts, also when its time was over; False when it counted already."""
    usage = UsageRepository(session, organization_id)
    return await usage.confirm(str(operation_id)) or await usage.recall(str(operation_id))


async def release(session: ScopedSession, organization_id: UUID, operation_id: UUID | str) -> bool:
    """The reserved work is not done: its quota goes back; False when nothing is reserved."""
    return await UsageRepository(session, organization_id).release(str(operation_id))


async def period_of(session: ScopedSession, organization_id: UUID, now: datetime) -> MeterPeriod:
    """The period in which this organisation's usage is counted now."""
    return meter_period((await entitlements(session, organization_id)).meter_anchor_at, now)


async def check_products(session: ScopedSession, organization_id: UUID, adding: int = 1) -> None:
    """Refuse products that the plan has no room for: 402 `plan_limit_reached`.

    With a limit, additions queue until the transaction ends; without one nothing is locked.
    """
    if (await entitlements(session, organization_id)).limits.get("products") is None:
        return
    usage = UsageRepository(session, organization_id)
    await usage.lock_gauge("products")
    used = await usage.products()
    await check_gauge(session, organization_id, "products", adding, used=used)


class Meter:
    """One counter of one organisation."""

    def __init__(self, session: ScopedSession, organization_id: UUID, metric: Counter) -> None:
        self.session = session
        self.organization_id = organization_id
        self.metric = metric
        self.usage = UsageRepository(session, organization_id)

    async def add(
        self,
        key: str,
        quantity: int,
        *,
        may_refuse: bool = True,
        subject: str | None = None,
        kept: timedelta | None = None,
    ) -> Counted:
        """Count or, with `kept`, reserve, unless it was already. 402 `quota_exceeded`."""
        now = await self.session.now()
        use = self.use(key, quantity, now, may_refuse=may_refuse, subject=subject, kept=kept)
        counted = await self.usage.count(use)
        if not counted.is_new:
            return counted
        if counted.value is None:
            await self.usage.refuse(key)
            raise await self.exceeded(use, counted)
        await self.tell(use, counted)
        return counted

    def use(
        self,
        key: str,
        quantity: int,
        now: datetime,
        *,
        may_refuse: bool = True,
        subject: str | None = None,
        kept: timedelta | None = None,
    ) -> Use:
        """What is to be counted, for a statement that counts it along with what it writes."""
        return Use(
            key=key,
            metric=self.metric,
            quantity=quantity,
            occurred_at=now,
            grace_days=get_settings().billing_grace_days,
            is_strict=may_refuse,
            expires_at=None if kept is None else now + kept,
            subject=subject,
        )

    async def exceeded(self, use: Use, counted: Counted) -> PaymentRequired:
        """402 `quota_exceeded` for what found no room, `subscription_inactive` while that is unpaid."""
        plan = await entitlements(self.session, self.organization_id)
        if plan.access == "read_only":
            return subscription_inactive()
        period = meter_period(counted.anchor, use.occurred_at)
        used = await self.usage.used(self.metric, counted.period)
        note_quota(Quota(counted.limit or 0, max((counted.limit or 0) - used, 0), period.end))
        return PaymentRequired(
            "quota_exceeded",
            "Your plan's quota of this period is used up; choose a larger plan, or wait for the next one.",
            metric=self.metric,
            limit=counted.limit,
            used=used,
            requested=use.quantity,
            resets_at=period.end.isoformat().replace("+00:00", "Z"),
            upgrade_url=upgrade_url(),
        )

    async def tell(self, use: Use, counted: Counted) -> None:
        """Tell the caller what is left, and once a period of the highest threshold that was reached."""
        value, limit = counted.value, counted.limit
        if value is None or limit is None:
            return
        period = meter_period(counted.anchor, use.occurred_at)
        note_quota(Quota(limit, max(limit - value, 0), period.end))
        reached = next((share for share in THRESHOLDS if value * 100 >= limit * share), 0)
        if reached <= (counted.notified_pct or 0):
            return
        if await self.usage.mark_notified(self.metric, counted.period, reached):
            event = UsageThresholdReached(
                metric=self.metric, period=counted.period, used=value, limit=limit, percent=reached
            )
            await emit(self.session, event, organization_id=self.organization_id)
