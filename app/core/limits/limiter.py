"""Owns the counting of requests against limits, and what happens while Redis is down."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from app.core.crypto.keyring import hmac_sha256, key_ring
from app.core.errors import Unavailable
from app.core.limits.leases import Leases, MemoryLeases, RedisLeases
from app.core.limits.rules import LimitRule, LimitState
from app.core.limits.windows import MemoryWindows, RedisWindows, WindowCount

logger = structlog.get_logger(__name__)

T = TypeVar("T")

_PAUSE_SECONDS = 5
"""How long Redis is left alone after a failure, so that not every request waits for the same time-out."""


class Limiter:
    """Counts requests: in memory for one process, in Redis for several.

    While Redis is down, ordinary limits are counted in memory, each process for itself, and sign-in limits
    refuse, because guessing passwords must not become cheaper by that.
    """

    def __init__(self, redis_url: str | None = None, *, secret: bytes | None = None) -> None:
        """Count in Redis at `redis_url`, or in memory without one.

        `secret` keys the HMAC under which callers are counted, so that no address lies in the store; unset,
        it is the key ring's own for this use.
        """
        self._secret = secret or key_ring().derive("limits")
        # The same callers come again and again, and an HMAC takes longer than to count.
        self._counted_as = lru_cache(maxsize=16_384)(self._hashed)
        self._memory = MemoryWindows()
        self._redis = RedisWindows(redis_url) if redis_url else None
        self._memory_leases = MemoryLeases()
        self._redis_leases = RedisLeases(self._redis.pool) if self._redis else None
        self._redis_failed_at: float | None = None

    async def hit(self, name: str, key: str, limit: LimitRule, *, is_sign_in: bool = False) -> LimitState:
        """Count one request of `key` (an address, a principal, a mailbox) against the limit `name`.

        A request over the limit is not counted. Unavailable (503) when it is a sign-in and Redis is down.
        """
        count = await self._count(self._counted_as(name, key), limit, is_sign_in)
        # A request is accepted again just after the wait, not at its last instant: hence one second more.
        wait = count.current_seconds if count.is_accepted else math.floor(count.wait_seconds(limit)) + 1
        return LimitState(
            name=name,
            limit=limit.count,
            window_seconds=limit.window_seconds,
            remaining=max(0, limit.count - count.used(limit)) if count.is_accepted else 0,
            reset_seconds=max(1, math.ceil(wait)),
            is_over=not count.is_accepted,
        )

    async def take_lease(self, name: str, key: str, holder: str, most: int) -> bool:
        """Whether `holder` may be one of `most` things of `key` that are open at once.

        It counts until it is released, or for LEASE_SECONDS after it was last renewed. While Redis is down
        each process counts for itself.
        """
        counted_as = self._counted_as(name, key)
        return await self._of_leases(lambda leases: leases.take(counted_as, holder, most))

    async def renew_leases(self, name: str, held: Sequence[tuple[str, str]]) -> None:
        """Let leases of this process, as (key, holder), last anew."""
        counted = [(self._counted_as(name, key), holder) for key, holder in held]
        await self._of_leases(lambda leases: leases.renew(counted))

    async def release_lease(self, name: str, key: str, holder: str) -> None:
        """Take a lease back."""
        counted_as = self._counted_as(name, key)
        await self._memory_leases.release(counted_as, holder)
        await self._of_leases(lambda leases: leases.release(counted_as, holder))

    async def close(self) -> None:
        """Close the connections to Redis and forget the counters in memory."""
        await self._memory.close()
        if self._redis is not None:
            await self._redis.close()

    def _hashed(self, name: str, key: str) -> str:
        return f"{name}:{hmac_sha256(self._secret, f'{name}:{key}'.encode()).hex()[:32]}"

    async def _count(self, key: str, limit: LimitRule, is_sign_in: bool) -> WindowCount:
        redis = self._redis
        if redis is None:
            return await self._memory.hit(key, limit)
        answers = await self._ask_redis(lambda: redis.hit(key, limit))
        if answers:
            return answers[0]
        if is_sign_in:
            raise Unavailable(
                "rate_limiter_unavailable",
                "Signing in is not possible at the moment; try again in a few seconds.",
                headers={"Retry-After": str(_PAUSE_SECONDS)},
            )
        return await self._memory.hit(key, limit)

    async def _of_leases(self, ask: Callable[[Leases], Awaitable[T]]) -> T:
        """Ask the leases in Redis, or those in memory while there is no Redis."""
        shared = self._redis_leases
        if shared is not None:
            answers = await self._ask_redis(lambda: ask(shared))
            if answers:
                return answers[0]
        return await ask(self._memory_leases)

    async def _ask_redis(self, ask: Callable[[], Awaitable[T]]) -> list[T]:
        """The one answer of Redis, or none while it is down."""
        if self._is_pausing():
            return []
        try:
            answer = await ask()
        except (RedisError, OSError) as error:
            # Only the kind of error is logged, because its text may carry the password of the URL.
            logger.warning("limits_redis_down", error=type(error).__name__)
            self._redis_failed_at = time.monotonic()
            return []
        if self._redis_failed_at is not None:
            logger.info("limits_redis_back")
            self._redis_failed_at = None
        return [answer]

    def _is_pausing(self) -> bool:
        return self._redis_failed_at is not None and time.monotonic() < self._redis_failed_at + _PAUSE_SECONDS
