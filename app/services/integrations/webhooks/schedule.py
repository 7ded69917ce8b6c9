"""When a failed delivery is tried again, and for how long a failing endpoint is left alone."""

import random
from datetime import timedelta

STEPS = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Before each of the ten attempts of a cycle."""

JITTER = 0.2
LONGEST_WAIT = timedelta(hours=6)
"""What an endpoint may ask for by Retry-After, and how long its circuit stays open at most."""

FIRST_PAUSE = timedelta(seconds=30)
PAUSE_FACTOR = 4
MANY_FAILURES = 5
"""So many in a row open the circuit."""

OVERLOADED = frozenset({429, 502, 503, 504})
"""Any one of these does, too."""

HEEDED = frozenset({429, 503})
"""Statuses with which Retry-After counts."""

WARNINGS = (timedelta(hours=1), timedelta(hours=24), timedelta(hours=72))
DISABLED_AFTER = timedelta(days=5)
DISABLED_FAILURES = 20


def asked_wait(status: int | None, retry_after_s: int | None) -> timedelta:
    """What the endpoint asks for, at most six hours; zero with a status where it does not count."""
    if status not in HEEDED or retry_after_s is None:
        return timedelta(0)
    return min(timedelta(seconds=retry_after_s), LONGEST_WAIT)


def next_wait(tries: int, asked: timedelta) -> timedelta | None:
    """How long to wait after so many attempts of a cycle; None after the last."""
    if tries >= len(STEPS):
        return None
    # Spread, so that what failed together does not come back together; nothing secret hangs on it.
    return max(STEPS[tries] * random.uniform(1 - JITTER, 1 + JITTER), asked)  # noqa: S311


def circuit_pause(step: int, asked: timedelta) -> timedelta:
    """For how long a circuit stays open that was opened so many times before without a success."""
    grown = timedelta(seconds=FIRST_PAUSE.total_seconds() * PAUSE_FACTOR ** min(step, 10))
    return min(max(grown, asked), LONGEST_WAIT)


def opens_circuit(status: int | None, failures: int) -> bool:
    """Whether an endpoint is left alone after this answer, or after so many failures in a row."""
    return status in OVERLOADED or failures >= MANY_FAILURES


def warnings_due(failing_for: timedelta) -> int:
    """How many of the warnings are due."""
    return sum(failing_for >= after for after in WARNINGS)
