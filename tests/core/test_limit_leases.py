"""Leases: so many at once, in one process or in several, and none for ever."""

import pytest

from app.core.limits import Limiter
from app.core.limits import leases as module
from app.core.limits.leases import LEASE_SECONDS, Leases, MemoryLeases, RedisLeases
from app.core.limits.windows import RedisWindows
from tests.support.redis import RedisServer

SECRET = b"s" * 32


async def uses(leases: Leases) -> None:
    """What holds for every store."""
    assert [await leases.take("a", holder, 2) for holder in ("1", "2", "3")] == [True, True, False]
    assert await leases.take("a", "1", 2)
    assert await leases.take("b", "3", 2)
    await leases.release("a", "1")
    await leases.release("a", "1")
    assert await leases.take("a", "3", 2)
    await leases.renew([("a", "2"), ("a", "3"), ("c", "9")])
    assert not await leases.take("c", "8", 1)
    assert not await leases.take("a", "1", 2)


async def test_leases_are_counted_in_memory() -> None:
    await uses(MemoryLeases())


async def test_leases_are_counted_in_redis(redis_server: RedisServer) -> None:
    windows = RedisWindows(redis_server.url)
    await uses(RedisLeases(windows.pool))
    await windows.close()


async def test_lease_ends_when_nobody_renews_it() -> None:
    now = 100.0
    leases = MemoryLeases(clock=lambda: now)
    assert await leases.take("a", "1", 1)
    now += LEASE_SECONDS - 1
    await leases.renew([("a", "1")])
    now += LEASE_SECONDS - 1
    assert not await leases.take("a", "2", 1)
    now += 2
    assert await leases.take("a", "2", 1)
    await leases.release("a", "2")
    assert leases._ends == {}


async def test_lease_ends_in_redis_when_nobody_renews_it(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = {name: getattr(module, name) for name in ("_TAKE", "_RENEW")}

    def let_it_be(now: int) -> None:
        """Put a time of ours in the place of the server's clock."""
        for name, script in scripts.items():
            assert module._NOW in script
            monkeypatch.setattr(module, name, script.replace(module._NOW, f"local now = {now} "))

    windows = RedisWindows(redis_server.url)
    leases = RedisLeases(windows.pool)
    let_it_be(100)
    assert await leases.take("a", "1", 1)
    let_it_be(100 + LEASE_SECONDS - 1)
    await leases.renew([("a", "1")])
    let_it_be(100 + 2 * (LEASE_SECONDS - 1))
    assert not await leases.take("a", "2", 1)
    let_it_be(100 + 2 * LEASE_SECONDS)
    assert await leases.take("a", "2", 1)
    await windows.close()


async def test_two_processes_share_their_leases_when_there_is_redis(redis_server: RedisServer) -> None:
    one, other = (Limiter(redis_server.url, secret=SECRET) for _ in range(2))
    assert await one.take_lease("streams", "user:1", "a", 1)
    assert not await other.take_lease("streams", "user:1", "b", 1)
    await one.release_lease("streams", "user:1", "a")
    assert await other.take_lease("streams", "user:1", "b", 1)
    await one.close()
    await other.close()


async def test_each_process_counts_for_itself_when_redis_is_down(redis_server: RedisServer) -> None:
    limiter = Limiter(redis_server.url, secret=SECRET)
    assert await limiter.take_lease("streams", "user:1", "a", 1)
    redis_server.kill()
    assert await limiter.take_lease("streams", "user:1", "b", 1)
    assert not await limiter.take_lease("streams", "user:1", "c", 1)
    await limiter.renew_leases("streams", [("user:1", "a"), ("user:1", "b")])
    await limiter.release_lease("streams", "user:1", "b")
    await limiter.release_lease("streams", "user:1", "a")
    assert await limiter.take_lease("streams", "user:1", "c", 1)
    await limiter.close()
