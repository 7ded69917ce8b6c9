"""Owns leases: how many things of one caller are open at once, in all processes together.

A lease ends by itself unless it is renewed, so that a process that dies gives back what it held.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis

LEASE_SECONDS = 45
"""How long a lease lasts that nobody renews."""

_PREFIX = "luneo:leases:"

# The server's own clock is asked, since those of the processes differ.
_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "

_TAKE = f"""
{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + {LEASE_SECONDS}, ARGV[1])
redis.call('EXPIRE', KEYS[1], {2 * LEASE_SECONDS})
return 1
"""

_RENEW = f"""
{_NOW}
redis.call('ZADD', KEYS[1], now + {LEASE_SECONDS}, ARGV[1])
redis.call('EXPIRE', KEYS[1], {2 * LEASE_SECONDS})
"""


class Leases(Protocol):
    """A store of leases: holders by key."""

    async def take(self, key: str, holder: str, most: int) -> bool:
        """Give `holder` a lease of `key` unless `most` others hold one."""
        ...

    async def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Let these leases, as (key, holder), last anew, whether or not they had ended meanwhile."""
        ...

    async def release(self, key: str, holder: str) -> None:
        """Take a lease back; there may be none."""
        ...


class MemoryLeases:
    """Leases of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends: dict[str, dict[str, float]] = {}
        self._clock = clock

    async def take(self, key: str, holder: str, most: int) -> bool:
        """Give `holder` a lease of `key` unless `most` others hold one."""
        now = self._clock()
        live = {name: end for name, end in self._ends.get(key, {}).items() if end > now}
        is_given = holder in live or len(live) < most
        if is_given:
            live[holder] = now + LEASE_SECONDS
        self._ends[key] = live
        return is_given

    async def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Let these leases last anew."""
        end = self._clock() + LEASE_SECONDS
        for key, holder in held:
            self._ends.setdefault(key, {})[holder] = end

    async def release(self, key: str, holder: str) -> None:
        """Take a lease back."""
        live = self._ends.get(key, {})
        live.pop(holder, None)
        if not live:
            self._ends.pop(key, None)


class RedisLeases:
    """Leases that several processes share."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._redis = Redis(connection_pool=pool)

    async def take(self, key: str, holder: str, most: int) -> bool:
        """Give `holder` a lease of `key` unless `most` others hold one."""
        answer: Any = self._redis.eval(_TAKE, 1, _PREFIX + key, holder, most)
        return bool(await answer)

    async def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Let these leases last anew, in one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for key, holder in held:
            pipeline.eval(_RENEW, 1, _PREFIX + key, holder)
        await pipeline.execute()

    async def release(self, key: str, holder: str) -> None:
        """Take a lease back."""
        await self._redis.zrem(_PREFIX + key, holder)
