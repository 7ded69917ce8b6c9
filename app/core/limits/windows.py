"""Owns the sliding window counters that limits are counted with, in memory and in Redis.

A counter has two windows, each as long as the rule's: the current one and the one before, which counts by the
share of it that still lies within the last window's length. A request that is refused is not counted.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.core.limits.rules import LimitRule

_MOST_KEYS = 50_000
_REDIS_TIMEOUT_SECONDS = 0.5


class WindowCount(NamedTuple):
    """A counter after a request: counts of both windows, and how many seconds each still has.

    `previous_seconds` is until the previous window counts for nothing, `current_seconds` until the current
    one becomes the previous one.
    """

    is_accepted: bool
    previous: int
    previous_seconds: float
    current: int
    current_seconds: float

    def used(self, rule: LimitRule) -> int:
        """Return how many requests count at this moment."""
        return math.floor(self.previous * self.previous_seconds / rule.window_seconds) + self.current

    def wait_seconds(self, rule: LimitRule) -> float:
        """Return how long it takes until one more request is accepted, if none comes in between."""
        if self.used(rule) < rule.count:
            return 0.0
        if self.current < rule.count:
            # The previous window's share must shrink below what the current one leaves.
            share = (rule.count - self.current) / self.previous
            return self.previous_seconds - share * rule.window_seconds
        # The current window is full by itself: it must become the previous one and then shrink.
        return self.current_seconds + (1 - rule.count / self.current) * rule.window_seconds


class Windows(Protocol):
    """A store of sliding window counters."""

    async def hit(self, key: str, rule: LimitRule) -> WindowCount:
        """Count one request under `key` if the rule allows it, and return the counter."""
        ...

    async def close(self) -> None:
        """Let go of everything the store holds."""
        ...


@dataclass(slots=True)
class _Counter:
    started_at: float
    previous: int = 0
    current: int = 0


class MemoryWindows:
    """Counters of one process; the least recently used ones are forgotten when there are too many.

    The memory storage of the limits library looks through all its keys after every hit, which takes
    milliseconds at some ten thousand of them, and never forgets a live key.
    """

    def __init__(self, most_keys: int = _MOST_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters: OrderedDict[tuple[str, LimitRule], _Counter] = OrderedDict()
        self._most_keys = most_keys
        self._clock = clock

    async def hit(self, key: str, rule: LimitRule) -> WindowCount:
        """Count one request under `key` if the rule allows it, and return the counter."""
        # Nothing here awaits, so no other request can come between reading and counting.
        window = rule.window_seconds
        now = self._clock()
        counter = self._counters.get((key, rule))
        if counter is None:
            counter = self._counters[key, rule] = _Counter(now)
            if len(self._counters) > self._most_keys:
                self._counters.popitem(last=False)
        else:
            self._counters.move_to_end((key, rule))
        age = now - counter.started_at
        if age >= 2 * window:
            counter.started_at, counter.previous, counter.current = now, 0, 0
        elif age >= window:
            counter.started_at += window
            counter.previous, counter.current = counter.current, 0
        left = window - (now - counter.started_at)
        is_accepted = math.floor(counter.previous * left / window) + counter.current < rule.count
        if is_accepted:
            counter.current += 1
        return WindowCount(is_accepted, counter.previous, left, counter.current, left)

    async def close(self) -> None:
        """Forget every counter."""
        self._counters.clear()


class RedisWindows:
    """Counters that several processes share, kept by the limits library in Redis."""

    def __init__(self, redis_url: str) -> None:
        # One retry, at once, is for connections that a restarted Redis closed. The client's own default would
        # let a request wait for seconds while Redis is down.
        self.pool: ConnectionPool = ConnectionPool.from_url(
            redis_url,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="luneo:limits",
            connection_pool=self.pool,  # type: ignore[arg-type]  # documented, but missing in its type
        )

    async def hit(self, key: str, rule: LimitRule) -> WindowCount:
        """Count one request under `key` if the rule allows it; RedisError or OSError when Redis is down."""
        item = RateLimitItemPerSecond(rule.count, rule.window_seconds)
        full_key = item.key_for(key)
        is_accepted = await self._storage.acquire_sliding_window_entry(
            full_key, rule.count, rule.window_seconds
        )
        previous, previous_ttl, current, current_ttl = await self._storage.get_sliding_window(
            full_key, rule.window_seconds
        )
        # The library keeps a window for twice its length, because it is read once more as the previous one.
        left = max(0.0, current_ttl - rule.window_seconds)
        return WindowCount(is_accepted, previous, previous_ttl, current, left)

    async def close(self) -> None:
        """Close every connection."""
        await self.pool.aclose()
