"""The sandbox's clock: it runs whatever is due, in time order, each at its own time."""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.state import State

Action = Callable[[State, str], None]

ACTIONS: dict[str, Action] = {}
"""What timers do, by name."""

EVERY_PASS: list[Callable[[State], None]] = []
"""What is looked at whenever due timers run, since it lives in real time."""

_PERIOD = re.compile(
    r"P(?:(\d{1,2})Y)?(?:(\d{1,3})M)?(?:(\d{1,3})W)?(?:(\d{1,4})D)?"
    r"(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?"
)
MAX_ADVANCE = timedelta(days=2 * 366)


def timer(name: str) -> Callable[[Action], Action]:
    """Register `def action(state, object_id)`, which runs when `state.schedule(at, name, object_id)` is due.

    An action looks at the object first: what it was set for may have been settled otherwise.
    """

    def register(action: Action) -> Action:
        ACTIONS[name] = action
        return action

    return register


def each_pass(check: Callable[[State], None]) -> Callable[[State], None]:
    """Register what is looked at before every request."""
    EVERY_PASS.append(check)
    return check


def run_due(state: State) -> None:
    """Run every timer up to the state's time; what an action schedules is run in the same pass."""
    end = state.now
    timers = state.document["timers"]
    while timers:
        # The first of the earliest: timers of one moment run in the order in which they were set.
        due = min(timers, key=lambda entry: entry["at"])
        if due["at"] > end:
            break
        timers.remove(due)
        state.now = due["at"]
        if due["id"] in state.objects:
            ACTIONS[due["action"]](state, due["id"])
    state.now = end
    for check in EVERY_PASS:
        check(state)


def advance(state: State, period: str) -> None:
    """Move the clock by an ISO 8601 period such as `P1M` or `PT2H`, and run what becomes due."""
    start = datetime.fromtimestamp(state.now, UTC)
    match = _PERIOD.fullmatch(period)
    if match is None or not any(match.groups()):
        raise invalid("Name a period such as P1M, P3D or PT2H.", param="advance")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    moved = add_months(start, 12 * years + months) + timedelta(
        weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds
    )
    if moved - start > MAX_ADVANCE:
        raise invalid("The clock moves by two years at most.", param="advance")
    by = int((moved - start).total_seconds())
    state.document["offset"] += by
    state.now += by
    run_due(state)


def add_months(start: datetime, months: int, anchor_day: int | None = None) -> datetime:
    """The same day so many months later, or the last day of a shorter month (Stripe's rule)."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(anchor_day or start.day, last))
