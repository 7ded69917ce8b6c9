"""Owns what a change of plan is: from which price to which, at once or at the end of the period."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import key_ring, read_facts, sign_facts
from app.core.database import OwnerSession
from app.core.errors import Conflict, FieldError, Invalid
from app.models.billing import PlanPrice, Subscription
from app.repositories.billing.plans import PlanRepository, PriceRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.access import FULL
from app.services.billing.entitlements import subscription_inactive
from app.services.billing.paying.checkout import sellable_price
from app.services.billing.paying.desk import no_subscription

USE = "billing.preview"
PREFIX = "pv_"


@dataclass(frozen=True, slots=True)
class Change:
    """A change that may be made: `is_upgrade` ones happen now, the others when the period ends."""

    subscription: Subscription
    current: PlanPrice
    target: PlanPrice
    is_upgrade: bool


async def judge_change(
    session: OwnerSession, organization_id: UUID, plan: str, interval: str, *, lock: bool = False
) -> Change:
    """The change to this plan.

    402 `subscription_inactive`; 409 `no_subscription`, `no_change`, `cancellation_scheduled`,
    `plan_not_for_sale`; 503 `plan_not_sellable`.
    """
    subscription = await SubscriptionRepository(session).live(organization_id, lock=lock)
    if subscription is None:
        raise no_subscription()
    if subscription.status not in FULL:
        raise subscription_inactive()
    current = await PriceRepository(session).get(subscription.price_id)
    assert current is not None  # noqa: S101 - prices are never removed
    if (current.plan_code, current.billing_interval) == (plan, interval):
        raise Conflict("no_change", "The subscription has this plan already.")
    target = await sellable_price(session, plan, interval, current.currency)
    ranks = {code: await _rank(session, code) for code in (current.plan_code, plan)}
    is_higher = ranks[plan] > ranks[current.plan_code]
    is_longer = ranks[plan] == ranks[current.plan_code] and interval == "year"
    is_upgrade = is_higher or is_longer
    if not is_upgrade and subscription.cancel_at_period_end:
        raise Conflict("cancellation_scheduled", "The subscription ends; resume it first.")
    return Change(subscription, current, target, is_upgrade)


async def _rank(session: OwnerSession, code: str) -> int:
    plan = await PlanRepository(session).by_code(code)
    assert plan is not None  # noqa: S101 - a price's plan exists
    return plan.rank


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview token says."""

    proration_date: int
    amount: int


def sign_preview(change: Change, preview: Preview, expires_at: datetime) -> str:
    """The token of a preview: an HMAC over the change, the date of proration, the amount and its end."""
    facts = "|".join(
        (
            *_named(change),
            *_standing(change),
            str(preview.proration_date),
            str(preview.amount),
            str(int(expires_at.timestamp())),
        )
    )
    return sign_facts(key_ring(), PREFIX, USE, facts.encode())


def _named(change: Change) -> tuple[str, ...]:
    """Which change it is: of this subscription, to this price."""
    return change.subscription.stripe_subscription_id, str(change.target.id)


def _standing(change: Change) -> tuple[str, ...]:
    """What its amount hangs on besides: the price until now, and when what was paid for it began."""
    began_at = change.subscription.current_period_start
    return str(change.current.id), str(int(began_at.timestamp())) if began_at is not None else ""


def read_preview(change: Change, token: str | None) -> Preview:
    """What the preview of this change said. 422 `preview_required`, `preview_token_invalid`; 409
    `preview_expired`, also for one that was made before another change or a renewal.
    """
    if token is None:
        raise _fault("preview_required", "Ask for a preview and send its `preview_token`.")
    facts = read_facts(key_ring(), PREFIX, USE, token)
    parts = tuple(facts.decode().split("|")) if facts is not None else ()
    if parts[:2] != _named(change):
        raise _fault("preview_token_invalid", "This token is not one of a preview of this change.")
    proration_date, amount, expires_at = (int(part) for part in parts[4:])
    if parts[2:4] != _standing(change) or clock.now().timestamp() >= expires_at:
        raise Conflict("preview_expired", "The preview is too old; ask for another one.")
    return Preview(proration_date, amount)


def _fault(code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError("/preview_token", code, detail)])


def preview_minutes() -> int:
    """How long a preview is good."""
    return get_settings().billing_preview_minutes
