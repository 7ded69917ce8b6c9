"""Owns the mirror of subscriptions: what Stripe says becomes the row, whatever was heard before."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import Subscription
from app.models.billing.subscriptions import LIVE
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.plans import PriceRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.subscriptions.fetching import LATEST_INVOICE, SCHEDULE, UNPAID, id_of, moment
from app.services.billing.subscriptions.telling import Facts, facts_of, tell_changes
from app.services.billing.subscriptions.trials import end_repeated_trial
from app.services.stripe_webhooks.asking import is_being_told
from app.services.stripe_webhooks.commands import queue_command
from app.services.stripe_webhooks.effects import EventDead

logger = structlog.get_logger(__name__)

CANCEL_DUPLICATE = "subscription.cancel_duplicate"

STEPS: dict[str, frozenset[str]] = {
    "incomplete": frozenset({"active", "trialing", "incomplete_expired"}),
    "trialing": frozenset({"active", "past_due", "paused", "canceled"}),
    "active": frozenset({"past_due", "canceled", "paused"}),
    "past_due": frozenset({"active", "unpaid", "canceled"}),
    "unpaid": frozenset({"active", "canceled"}),
    "paused": frozenset({"active", "canceled"}),
}
"""The steps that are expected; any other is applied too, and noted."""


async def apply_subscription(
    session: SystemSession, organization_id: UUID, fetched: dict[str, Any], fetched_at: datetime
) -> str | None:
    """Let the mirror be what was fetched (by `fetch_subscription`); a word where it is not.

    Takes the billing lock. EventDead `unknown_price`: the row keeps its plan.
    """
    customers, subscriptions = CustomerRepository(session), SubscriptionRepository(session)
    await customers.lock(organization_id)
    row = await subscriptions.by_stripe_id(organization_id, fetched["id"], lock=True)
    if row is not None and row.synced_at is not None and row.synced_at >= fetched_at:
        return "superseded"
    values = await _values(session, fetched)
    if row is None and values["status"] in LIVE:
        other = await subscriptions.live(organization_id)
        if other is not None:
            await _end_duplicate(session, other, fetched["id"])
            return "duplicate"
    before: Facts | None = None
    if row is None:
        row = await _begin(session, organization_id, fetched, {**values, "synced_at": fetched_at})
    else:
        before = await facts_of(session, row)
        _note_jump(row, values["status"])
        await subscriptions.change(row, {**values, "synced_at": fetched_at})
    if row.trial_start is not None:
        await customers.change(organization_id, {"has_had_trial": True})
    await tell_changes(session, row, before)
    if row.status == "trialing":
        await end_repeated_trial(session, row)
    return None


async def close_subscription(
    session: SystemSession, organization_id: UUID, stripe_subscription_id: str, fetched_at: datetime
) -> None:
    """Let a mirror end that Stripe does not know any more."""
    await CustomerRepository(session).lock(organization_id)
    subscriptions = SubscriptionRepository(session)
    row = await subscriptions.by_stripe_id(organization_id, stripe_subscription_id, lock=True)
    if row is None or row.status not in LIVE:
        return
    before = await facts_of(session, row)
    ended = {"status": "canceled", "ended_at": fetched_at, "canceled_at": row.canceled_at or fetched_at}
    await subscriptions.change(row, {**ended, "past_due_since": None, "synced_at": fetched_at})
    await tell_changes(session, row, before)


async def _begin(
    session: SystemSession, organization_id: UUID, fetched: dict[str, Any], values: dict[str, Any]
) -> Subscription:
    """The first sight of a subscription."""
    user_id = await _person(session, fetched)
    row = Subscription(
        organization_id=organization_id,
        id=uuid7(),
        user_id=user_id,
        stripe_subscription_id=fetched["id"],
        # It stays where it is when the billing anchor moves, as with a change from months to years: what is
        # used of a period is not given back by beginning another.
        meter_anchor_at=_anchor(fetched),
        **values,
    )
    return await SubscriptionRepository(session).add(row)


async def _person(session: SystemSession, fetched: dict[str, Any]) -> UUID | None:
    """Who subscribed, as far as the metadata that we sent says so."""
    try:
        user_id = UUID((fetched.get("metadata") or {}).get("user_id", ""))
    except ValueError:
        return None
    is_known = await CustomerRepository(session).address_of(user_id) is not None
    return user_id if is_known else None


async def _values(session: SystemSession, fetched: dict[str, Any]) -> dict[str, Any]:
    """The columns that follow from what was fetched alone."""
    item = fetched["items"]["data"][0]
    price = await PriceRepository(session).by_stripe_id(str(id_of(item["price"])))
    if price is None:
        raise EventDead("unknown_price", str(id_of(item["price"])))
    details = fetched.get("cancellation_details") or {}
    pending_update = fetched.get("pending_update") or {}
    return {
        "plan_code": price.plan_code,
        "price_id": price.id,
        "status": fetched["status"],
        "current_period_start": moment(item.get("current_period_start")),
        "current_period_end": moment(item.get("current_period_end")),
        "cancel_at_period_end": bool(fetched.get("cancel_at_period_end")),
        "cancel_at": moment(fetched.get("cancel_at")),
        "canceled_at": moment(fetched.get("canceled_at")),
        "ended_at": moment(fetched.get("ended_at")),
        "cancel_reason": details.get("feedback") or details.get("reason"),
        "trial_start": moment(fetched.get("trial_start")),
        "trial_end": moment(fetched.get("trial_end")),
        "pending_update_expires_at": moment(pending_update.get("expires_at")),
        "past_due_since": _past_due_since(fetched),
        "stripe_item_id": item["id"],
        "stripe_schedule_id": id_of(fetched.get("schedule")),
        "latest_stripe_invoice_id": id_of(fetched.get("latest_invoice")),
        **await _pending(session, fetched.get(SCHEDULE)),
    }


def _anchor(fetched: dict[str, Any]) -> datetime | None:
    """The day of the month from which its periods are counted."""
    return moment(fetched.get("billing_cycle_anchor") or fetched.get("start_date") or fetched["created"])


def _past_due_since(fetched: dict[str, Any]) -> datetime | None:
    """When the invoice became due that is not paid: the same moment, whichever event tells of it first."""
    if fetched["status"] not in UNPAID:
        return None
    invoice = fetched.get(LATEST_INVOICE) or {}
    times = invoice.get("status_transitions") or {}
    item = fetched["items"]["data"][0]
    return moment(times.get("finalized_at") or invoice.get("created") or item.get("current_period_start"))


async def _pending(session: SystemSession, schedule: dict[str, Any] | None) -> dict[str, Any]:
    """The change that a schedule brings with its next phase."""
    nothing = {"pending_price_id": None, "pending_effective_at": None}
    phase = coming_phase(schedule)
    if phase is None:
        return nothing
    price = await PriceRepository(session).by_stripe_id(str(id_of(phase["items"][0]["price"])))
    if price is None:
        return nothing
    return {"pending_price_id": price.id, "pending_effective_at": moment(phase["start_date"])}


def coming_phase(schedule: dict[str, Any] | None) -> dict[str, Any] | None:
    """The phase that follows the present one, of a schedule that is not over."""
    if schedule is None or schedule.get("status") not in {"active", "not_started"}:
        return None
    ends_at = (schedule.get("current_phase") or {}).get("end_date") or 0
    return next((phase for phase in schedule["phases"] if phase["start_date"] >= ends_at), None)


async def _end_duplicate(session: SystemSession, kept: Subscription, stripe_subscription_id: str) -> None:
    """Have a second subscription ended and given back, since an organisation has one."""
    if await is_being_told(
        session, kept.organization_id, CANCEL_DUPLICATE, subscription=stripe_subscription_id
    ):
        return
    logger.error(
        "Alert: a second subscription was paid",
        organization_id=str(kept.organization_id),
        subscription=stripe_subscription_id,
    )
    await queue_command(
        session,
        kept.organization_id,
        CANCEL_DUPLICATE,
        subject_type="subscription",
        subject_id=kept.id,
        params={"subscription": stripe_subscription_id, "kept": kept.stripe_subscription_id},
    )


def _note_jump(row: Subscription, status: str) -> None:
    if status != row.status and status not in STEPS.get(row.status, frozenset()):
        logger.warning("subscription_jump", subscription=str(row.id), before=row.status, after=status)
