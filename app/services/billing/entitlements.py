"""Owns what an organisation may use: the plan it has, its limits and features, and their refusals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import ScopedSession
from app.core.errors import PaymentRequired
from app.repositories.billing import PlanRepository
from app.repositories.billing.plans import FREE


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What the plan gives: a limit of None is no limit; a feature is there or it is not."""

    plan: str
    access: Literal["full", "free"]
    limits: Mapping[str, int | None]
    features: frozenset[str]


async def entitlements(session: ScopedSession, organization_id: UUID) -> Entitlements:
    """What the organisation may use now: the highest plan among its running grants, or the free one."""
    plan = await PlanRepository(session).of_organization(organization_id, clock.now())
    return Entitlements(
        plan=plan.code,
        access="free" if plan.code == FREE else "full",
        limits=plan.limits,
        features=frozenset(name for name, is_there in plan.features.items() if is_there),
    )


async def check_gauge(
    session: ScopedSession, organization_id: UUID, metric: str, adding: int, *, used: int, pending: int = 0
) -> None:
    """Refuse `adding` more of a thing than the plan has room for: 402 `plan_limit_reached`.

    The caller holds the lock under which such things are added, and has counted `used` and `pending` in it.
    """
    limit = (await entitlements(session, organization_id)).limits.get(metric)
    if limit is None or used + pending + adding <= limit:
        return
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
    """402 `feature_not_in_plan` unless the plan has the feature."""
    if feature not in (await entitlements(session, organization_id)).features:
        raise PaymentRequired(
            "feature_not_in_plan",
            "Your plan does not have this; choose a larger one.",
            feature=feature,
            upgrade_url=upgrade_url(),
        )


def upgrade_url() -> str:
    """The page of the application where a larger plan is chosen."""
    return f"{get_settings().app_url}/billing/plans"
