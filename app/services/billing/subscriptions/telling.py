"""Owns what follows from a change of a subscription's mirror: which events are told."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from app.core import clock
from app.core.database import ScopedSession
from app.core.events import emit
from app.models.billing import Subscription
from app.models.billing.subscriptions import LIVE
from app.repositories.billing.plans import PriceRepository
from app.services.billing.access import access_of
from app.services.billing.subscriptions.events import (
    SubscriptionAccessChanged,
    SubscriptionCanceled,
    SubscriptionCreated,
    SubscriptionEvent,
    SubscriptionPastDue,
    SubscriptionUpdated,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What events say about a subscription."""

    subscription_id: UUID
    plan: str
    status: str
    access: str
    interval: str
    current_period_end: datetime | None
    cancel_at_period_end: bool
    pending_plan: str | None


async def facts_of(session: ScopedSession, row: Subscription) -> Facts:
    """The facts as the row has them now."""
    prices = PriceRepository(session)
    price = await prices.get(row.price_id)
    pending = None if row.pending_price_id is None else await prices.get(row.pending_price_id)
    return Facts(
        subscription_id=row.id,
        plan=row.plan_code,
        status=row.status,
        access=access_of(row, clock.now()),
        interval=price.billing_interval if price else "month",
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        pending_plan=pending.plan_code if pending else None,
    )


async def tell_changes(session: ScopedSession, row: Subscription, before: Facts | None) -> None:
    """Emit what is different; nothing for one that had ended when it was first seen."""
    now = await facts_of(session, row)
    kind: type[SubscriptionEvent] | None = None
    if before is None:
        kind = SubscriptionCreated if row.status in LIVE else None
    elif before == now:
        return
    elif now.status == before.status:
        kind = SubscriptionUpdated
    else:
        kind = {"past_due": SubscriptionPastDue, "canceled": SubscriptionCanceled}.get(
            now.status, SubscriptionUpdated
        )
    if kind is None:
        return
    await emit(session, kind(**asdict(now)), organization_id=row.organization_id)
    await tell_access(session, row, now, previous=before.access if before else "free")


async def tell_access(session: ScopedSession, row: Subscription, now: Facts, *, previous: str) -> None:
    """Emit that the plan can be used to another extent than before, if so."""
    if now.access != previous:
        event = SubscriptionAccessChanged(**asdict(now), previous_access=previous)
        await emit(session, event, organization_id=row.organization_id)
