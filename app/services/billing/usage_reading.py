"""Owns what people are told of their usage, and what programs report of it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.quotas import Quota, note_quota
from app.repositories.billing.usage import UsageRepository
from app.schemas.billing.usage import UsageEventCreate, UsageEventRead, UsageList, UsageRead
from app.services.billing.entitlements import entitlements
from app.services.billing.periods import MeterPeriod, meter_period
from app.services.billing.usage import Meter

COUNTERS: Mapping[str, tuple[str, str]] = {
    "ai_generations": ("Designs that were generated.", "Generate fewer, or wait for the next period."),
    "orders": ("Orders that were placed, cancelled ones too.", "Keep drafts until they are certain."),
    "ar_views": ("Views of AR models.", "Unpublish models that nobody needs any more."),
    "renders": ("Pictures that were rendered.", "Render at fewer angles or sizes."),
    "api_calls": ("Requests with API keys.", "Ask less often, or take webhooks instead of asking."),
    "analytics_events": ("Events that were sent to the analytics.", "Send fewer kinds of events."),
}
"""What counts per period, and how to use less."""

GAUGES: Mapping[str, tuple[str, str]] = {
    "team_members": ("Members of the team.", "Remove members who do not work here any more."),
    "products": ("Products, archived ones too.", "Delete products that are not sold any more."),
    "ar_models": ("AR models.", "Delete models that nobody sees."),
    "storage_bytes": ("Bytes of stored files.", "Delete files, or store smaller ones."),
    "api_keys": ("API keys that are neither revoked nor expired.", "Revoke keys that nobody uses."),
    "webhook_endpoints": ("Addresses that webhooks are sent to.", "Remove addresses that nobody reads."),
}
"""What a plan has room for, and how to make room."""

RENDERS = "renders:"
"""What stands before the keys of callers, so that they never meet ids of our own."""


class UsageService:
    """Shows usage, and counts what programs report."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        if principal.organization_id is None:
            raise NotFound()
        self.session = session
        self.organization_id: UUID = principal.organization_id
        self.usage = UsageRepository(session, self.organization_id)

    async def list(self, first_day: date | None) -> UsageList:
        """Every limit of the plan with what is used of it; of an earlier period the counters only.

        422 `period_unknown` for a day on which none begins, or none has begun yet.
        """
        plan = await entitlements(self.session, self.organization_id)
        now = await self.session.now()
        period = meter_period(plan.meter_anchor_at, now)
        if first_day is not None:
            period = _period_from(first_day, plan.meter_anchor_at, now)
        sums = await self.usage.counters(period.name)
        items = [
            _item("counter", name, sums.get(name, 0), plan.limits.get(name), period.end, *texts)
            for name, texts in COUNTERS.items()
        ]
        if first_day is None:
            there = await self.usage.gauges(now)
            items += [
                _item("gauge", name, there.get(name, 0), plan.limits.get(name), None, *texts)
                for name, texts in GAUGES.items()
            ]
        return UsageList(items=items, next_cursor=None, total=len(items))

    async def report(self, body: UsageEventCreate) -> tuple[bool, UsageEventRead]:
        """Count what was made elsewhere; whether it is new. 402 `quota_exceeded`."""
        meter = Meter(self.session, self.organization_id, body.metric)
        key = f"{RENDERS}{body.idempotency_key}"
        counted = await meter.add(key, body.quantity)
        period, quantity = counted.period, body.quantity
        if not counted.is_new:
            period, quantity = await self.usage.event(key)
        plan = await entitlements(self.session, self.organization_id)
        current = meter_period(plan.meter_anchor_at, await self.session.now())
        used = counted.value
        if used is None:
            used = await self.usage.used(body.metric, current.name)
        if not counted.is_new and counted.limit is not None:
            note_quota(Quota(counted.limit, max(counted.limit - used, 0), current.end))
        return counted.is_new, UsageEventRead(
            metric=body.metric,
            quantity=quantity,
            idempotency_key=body.idempotency_key,
            period=period,
            used=used,
            limit=counted.limit,
            resets_at=current.end,
        )


def _item(
    kind: str, metric: str, used: int, limit: int | None, resets_at: datetime | None, counts: str, less: str
) -> UsageRead:
    percent = None if limit is None else used * 100 // limit if limit else 100
    return UsageRead.model_validate(
        {
            "metric": metric,
            "kind": kind,
            "used": used,
            "limit": limit,
            "percent": percent,
            "resets_at": resets_at,
            "what_counts": counts,
            "how_to_reduce": less,
        }
    )


def _period_from(first_day: date, anchor: datetime | None, now: datetime) -> MeterPeriod:
    """The period that begins on this day, by the anchor of today or by the calendar."""
    if first_day <= now.date():
        for start in (anchor, None):
            last_moment = datetime.combine(first_day, time.max, tzinfo=UTC)
            period = meter_period(start, last_moment)
            if period.start.date() == first_day:
                return period
    detail = "No period begins on this day."
    raise Invalid("period_unknown", detail, errors=[FieldError("/period", "period_unknown", detail)])


Usages = Annotated[UsageService, Depends()]
