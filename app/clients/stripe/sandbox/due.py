"""When something becomes due for a subscription; one timer at a time stands for all of it."""

from app.clients.stripe.sandbox.periods import current_period
from app.clients.stripe.sandbox.state import DAY, Object, State

TIMER = "subscription_due"
NOTICE_SECONDS = 3 * DAY
"""How long before its end a trial is announced to end."""
UPCOMING_SECONDS = 7 * DAY
"""How long before a renewal its invoice is announced."""
INCOMPLETE_SECONDS = 23 * 3600
"""How long a first payment, or one of a pending update, may be missing."""

ENDED = ("canceled", "incomplete_expired")
RENEWING = ("active", "past_due", "unpaid")


def plan(state: State, subscription: Object) -> None:
    """Set the timer of the next thing that is due."""
    if subscription["status"] in ENDED:
        return
    times = _times(state, subscription)
    following = min(times, default=None)
    if following is not None and subscription.get("_due_at") != following:
        subscription["_due_at"] = following
        state.schedule(following, TIMER, subscription["id"])


def _times(state: State, subscription: Object) -> list[int]:
    """Every time at which something is due."""
    status = subscription["status"]
    if status == "incomplete":
        return [subscription["created"] + INCOMPLETE_SECONDS]
    times = [subscription["cancel_at"]] if subscription["cancel_at"] is not None else []
    if subscription["pending_update"] is not None:
        times.append(subscription["pending_update"]["expires_at"])
    phase_end = phase_ends_at(state, subscription)
    if phase_end is not None:
        times.append(phase_end)
    if status == "trialing":
        times.append(subscription["trial_end"])
        if not subscription["_is_end_announced"]:
            times.append(subscription["trial_end"] - NOTICE_SECONDS)
    elif status in RENEWING:
        end = current_period(subscription)[1]
        times.append(end)
        if is_announced(subscription):
            times.append(end - UPCOMING_SECONDS)
    return times


def is_announced(subscription: Object) -> bool:
    """Whether the renewal at the end of this period is still to be announced."""
    start, end = current_period(subscription)
    return (
        end - start > UPCOMING_SECONDS
        and subscription["_announced_end"] != end
        and subscription["cancel_at"] is None
        and subscription["status"] in RENEWING
    )


def phase_ends_at(state: State, subscription: Object) -> int | None:
    """When the current phase of the subscription's schedule ends."""
    schedule = state.find("subscription_schedule", subscription["schedule"])
    if schedule is None or schedule["current_phase"] is None:
        return None
    return int(schedule["current_phase"]["end_date"])
