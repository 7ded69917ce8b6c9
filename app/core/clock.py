"""The time: one function to ask it, so that tests can move it and every rule binds it as a parameter."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """The present moment, aware and in UTC."""
    return datetime.now(UTC) + _offset


def offset() -> timedelta:
    """How far this process' clock was moved: zero outside tests."""
    return _offset


@contextmanager
def travel(delta: timedelta) -> Iterator[None]:
    """Move the clock by `delta` inside the block; blocks nest."""
    global _offset  # noqa: PLW0603 - the clock is the one piece of state that every layer shares
    _offset += delta
    try:
        yield
    finally:
        _offset -= delta
