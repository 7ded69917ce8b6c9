"""Owns how often and when something is tried again, and what is kept of why it failed."""

import random
import traceback
from datetime import timedelta

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 3600.0
JITTER = 0.1

MAX_ERROR = 500
FRAMES = 12


def pause_after(attempts: int) -> timedelta:
    """The pause after that many attempts: 5 s, 10 s, 20 s … up to an hour, give or take a tenth."""
    seconds = min(FIRST_PAUSE * 2.0 ** min(max(attempts - 1, 0), 20), LONGEST_PAUSE)
    return timedelta(seconds=seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret


def short(error: BaseException) -> str:
    """An error for operators: its kind, and what it says when it is one of ours.

    What other errors say may hold values of a body, so it is left to where they are raised.
    """
    text = type(error).__name__
    if type(error).__module__.startswith("app."):
        text = f"{text}: {error}"
    return text[:MAX_ERROR]


def told(error: BaseException) -> dict[str, str]:
    """What a log says of an error: which one and where, and not its text, which may hold values of a body."""
    return {"error": short(error), "where": "".join(traceback.format_tb(error.__traceback__)[-FRAMES:])}
