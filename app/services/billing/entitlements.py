"""Owns what an organisation may use: the plan it has, its limits and features, and their refusals."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import ScopedSession
from app.core.errors import PaymentRequired
from app.repositories.billing import PlanRepository
from app.repositories.billing.plans import FREE, Standing
from app.services.billing.access import Access, access_of


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What the plan gives: a limit of None is no limit; a feature is there or it is not.

    Usage is counted by months from `meter_anchor_at`, None for those of the calendar.
    """

    plan: str
    access: Access
    limits: Mapping[str, int | None]
    features: frozenset[str]
    meter_anchor_at: datetime | None = None


KEPT_LIMITS = frozenset({"audit_days"})
"""Limits of what is read, which an overdue subscription keeps."""


async def entitlements(session: ScopedSession, organization_id: UUID) -> Entitlements:
    """What the organisation may use now.

    The plan of highest rank among its running grants and its live subscription, or the free one. With a
    subscription that is overdue for too long or suspended, what is read stays as it was (`read_only`), and
    the limits are those of the free plan.
    """
    return (await entitlements_of(session, [organization_id]))[organization_id]


async def entitlements_of(
    session: ScopedSession, organization_ids: Collection[UUID]
) -> Mapping[UUID, Entitlements]:
    """The same of several organisations, with one statement."""
    now = clock.now()
    standings = await PlanRepository(session).standings(organization_ids, now)
    return {identifier: _judged(found, now) for identifier, found in standings.items()}


def _judged(standings: Sequence[Standing], now: datetime) -> Entitlements:
    anchor = next((item.subscription.meter_anchor_at for item in standings if item.subscription), None)
    free = standings[0].plan
    best = free
    access: Access = "free"
    for standing in standings:
        if standing.plan.code == FREE:
            continue
        given: Access = "full" if standing.is_granted else access_of(standing.subscription, now)
        # A grant of any rank is better than a plan that may only be read.
        if given in ("full", "grace") or (given == "read_only" and access == "free"):
            best, access = standing.plan, given
    limits = best.limits
    if access == "read_only":
        limits = {**free.limits, **{name: best.limits.get(name) for name in KEPT_LIMITS}}
    return Entitlements(
        plan=best.code,
        access=access,
        limits=limits,
        features=frozenset(name for name, is_there in best.features.items() if is_there),
        meter_anchor_at=anchor,
    )


async def check_gauge(
    session: ScopedSession, organization_id: UUID, metric: str, adding: int, *, used: int, pending: int = 0
) -> None:
    """Refuse `adding` more of a thing than the plan has room for: 402 `plan_limit_reached`.

    402 `subscription_inactive` where the plan is larger and its subscription is not paid. The caller holds
    the lock under which such things are added, and has counted `used` and `pending` in it.
    """
    plan = await entitlements(session, organization_id)
    limit = plan.limits.get(metric)
    if limit is None or used + pending + adding <= limit:
        return
    if plan.access == "read_only":
        raise subscription_inactive()
    raise PaymentRequired(
        "plan_limit_reached",
        f"Your plan has room for {limit}; remove some, or choose a larger plan.",
        metric=metric,
        limit=limit,
        used=used,
        pending=pending,
        requested=adding,
        upgrade_url=upgrade_url(),
    )


async def require_feature(session: ScopedSession, organization_id: UUID, feature: str) -> None:
    """402 `feature_not_in_plan` unless the plan has it, `subscription_inactive` while that is unpaid."""
    plan = await entitlements(session, organization_id)
    if feature in plan.features and plan.access == "read_only":
        raise subscription_inactive()
    if feature not in plan.features:
        raise PaymentRequired(
            "feature_not_in_plan",
            "Your plan does not have this; choose a larger one.",
            feature=feature,
            upgrade_url=upgrade_url(),
        )


def subscription_inactive() -> PaymentRequired:
    """402 for a write above the free limits while the subscription is overdue for too long or suspended."""
    return PaymentRequired(
        "subscription_inactive",
        "Your subscription is not paid: update the payment method, and this is possible again.",
        upgrade_url=upgrade_url(),
    )


def upgrade_url() -> str:
    """The page of the application where a larger plan is chosen."""
    return f"{get_settings().app_url}/billing/plans"
