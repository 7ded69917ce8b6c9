"""Rate limits: counting in memory and in a real Redis, the fallback between them, the answers of routes."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from app.core import errors
from app.core.config import get_settings
from app.core.crypto import key_ring
from app.core.errors import Unavailable
from app.core.limits import (
    Limiter,
    LimitRule,
    LimitState,
    RateLimit,
    enforce,
    limit_headers,
    limited,
    parse_limit,
    settle_limits,
)
from app.core.limits import limiter as limiter_module
from app.core.limits import windows as windows_module
from app.core.limits.windows import MemoryWindows, RedisWindows
from tests.support.redis import RedisServer, redis_server

__all__ = ["redis_server"]

SECRET = b"limits" * 6
THREE = LimitRule(3, 60)


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def memory_limiter() -> AsyncIterator[Limiter]:
    limiter = Limiter(secret=SECRET)
    yield limiter
    await limiter.close()


@pytest.fixture
async def redis_limiter(redis_server: RedisServer) -> AsyncIterator[Limiter]:
    limiter = Limiter(redis_server.url, secret=SECRET)
    yield limiter
    await limiter.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def limiter(request: pytest.FixtureRequest) -> Limiter:
    made: Limiter = request.getfixturevalue(f"{request.param}_limiter")
    return made


# --- rules and headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("50/15m", LimitRule(50, 900)),
        ("10/1h", LimitRule(10, 3600)),
        ("1/24h", LimitRule(1, 86_400)),
        ("600/1m", LimitRule(600, 60)),
        ("5/30s", LimitRule(5, 30)),
    ],
)
def test_a_limit_is_read_when_well_written(text, rule):
    assert parse_limit(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "50", "50/", "/1m", "0/1m", "5/0m", "-5/1m", "5/1d", "5/m", "5 / 1m", "5/1m\n", "٥/1m", "5/1m/2"],
)
def test_a_limit_is_refused_when_badly_written(text):
    with pytest.raises(ValueError, match="A limit is written"):
        parse_limit(text)


def test_every_limit_of_the_settings_is_readable_when_parsed():
    names = [name for name in type(get_settings()).model_fields if name.startswith("limit_")]
    rules = [parse_limit(getattr(get_settings(), name)) for name in names if name != "limit_factor"]
    assert len(rules) >= 8


def test_headers_name_every_limit_and_the_tightest_when_there_are_several():
    states = [
        LimitState("login_ip", 50, 900, 49, 900, False),
        LimitState("mail_ip", 20, 3600, 2, 1800, False),
    ]
    assert dict(limit_headers(states)) == {
        b"ratelimit-policy": b'"login_ip";q=50;w=900, "mail_ip";q=20;w=3600',
        b"ratelimit": b'"login_ip";r=49;t=900, "mail_ip";r=2;t=1800',
        b"x-ratelimit-limit": b"20",
        b"x-ratelimit-remaining": b"2",
        b"x-ratelimit-reset": b"1800",
    }
    assert limit_headers([]) == []


def test_the_limit_that_is_over_is_the_tightest_when_another_has_nothing_left_either():
    last_one = LimitState("a", 5, 60, 0, 60, False)
    over = LimitState("b", 7, 60, 0, 3, True)
    assert dict(limit_headers([last_one, over]))[b"x-ratelimit-limit"] == b"7"


# --- counting ----------------------------------------------------------------------------------------------


async def test_requests_are_over_when_the_limit_is_used_up(limiter):
    states = [await limiter.hit("login_ip", "198.51.100.1", THREE) for _ in range(5)]
    assert [state.is_over for state in states] == [False, False, False, True, True]
    assert [state.remaining for state in states] == [2, 1, 0, 0, 0]
    assert states[0] == LimitState("login_ip", 3, 60, 2, 60, False)
    assert all(0 < state.reset_seconds <= 61 for state in states)


async def test_keys_and_names_are_counted_apart_when_they_differ(limiter):
    for _ in range(3):
        await limiter.hit("login_ip", "198.51.100.1", THREE)
    assert (await limiter.hit("login_ip", "198.51.100.1", THREE)).is_over
    assert not (await limiter.hit("login_ip", "198.51.100.2", THREE)).is_over
    assert not (await limiter.hit("signup_ip", "198.51.100.1", THREE)).is_over


async def test_exactly_the_limit_is_accepted_when_requests_come_at_once(limiter):
    rule = LimitRule(20, 60)
    states = await asyncio.gather(*(limiter.hit("orders_create", "alice", rule) for _ in range(60)))
    assert sum(not state.is_over for state in states) == 20


async def test_requests_are_accepted_again_when_the_told_time_has_passed(limiter):
    rule = LimitRule(2, 1)
    # On a slow machine a second is over before three were counted.
    while not (state := await limiter.hit("login_ip", "a", rule)).is_over:
        pass
    assert 1 <= state.reset_seconds <= 2
    await asyncio.sleep(state.reset_seconds)
    assert not (await limiter.hit("login_ip", "a", rule)).is_over


async def test_the_previous_window_counts_by_its_share_when_the_next_has_begun():
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    rule = LimitRule(10, 100)
    for _ in range(10):
        await windows.hit("k", rule)
    clock.now += 150
    accepted = [(await windows.hit("k", rule)).is_accepted for _ in range(7)]
    assert accepted == [True] * 5 + [False] * 2
    clock.now += 250
    assert (await windows.hit("k", rule)).used(rule) == 1


@given(
    st.integers(1, 12),
    st.integers(1, 50),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60),
)
def test_waiting_as_told_is_enough_and_not_much_too_long_when_over(count, window, pauses):
    async def story() -> None:
        clock = Clock()
        windows = MemoryWindows(clock=clock)
        rule = LimitRule(count, window)
        for pause in pauses:
            clock.now += pause
            result = await windows.hit("k", rule)
            if result.is_accepted:
                continue
            wait = result.wait_seconds(rule)
            assert 0 <= wait <= 2 * window
            if wait > 0.01:
                clock.now += wait - 0.01
                assert not (await windows.hit("k", rule)).is_accepted
                clock.now += 0.01
            clock.now += 0.01
            assert (await windows.hit("k", rule)).is_accepted

    asyncio.run(story())


async def test_memory_stays_bounded_when_many_keys_come():
    windows = MemoryWindows(most_keys=100)
    for number in range(1000):
        await windows.hit("busy", THREE)
        await windows.hit(f"k{number}", THREE)
    assert len(windows._counters) == 100
    assert not (await windows.hit("busy", THREE)).is_accepted


async def test_a_hit_in_memory_looks_at_no_other_key_when_there_are_many(monkeypatch: pytest.MonkeyPatch):
    class Counters(OrderedDict[Any, Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("all keys are looked through")

        keys = items = values = __iter__  # type: ignore[assignment]  # no way leads through them

    windows = MemoryWindows(most_keys=100)
    windows._counters = Counters()
    for number in range(300):
        assert (await windows.hit(f"k{number}", THREE)).is_accepted


# --- Redis -------------------------------------------------------------------------------------------------


async def test_two_processes_share_their_counters_when_both_use_redis(redis_server):
    one, two = Limiter(redis_server.url, secret=SECRET), Limiter(redis_server.url, secret=SECRET)
    states = [await each.hit("login_ip", "a", THREE) for each in (one, two, one, two)]
    assert [state.is_over for state in states] == [False, False, False, True]
    await one.close()
    await two.close()


async def test_no_address_lies_in_redis_when_requests_were_counted(redis_server, redis_limiter):
    await redis_limiter.hit("login_ip", "198.51.100.77", THREE)
    await redis_limiter.hit("mail_address", "alice@luneo.test", THREE)
    client = Redis.from_url(redis_server.url)
    keys = [key.decode() async for key in client.scan_iter()]
    lives = [await client.ttl(key) for key in keys]
    await client.aclose()
    assert len(keys) == 2
    assert all(key.startswith("luneo:limits:") for key in keys)
    assert not any("198.51" in key or "alice" in key for key in keys)
    assert all(0 < life <= 120 for life in lives)


async def test_callers_are_counted_under_the_key_ring_when_no_secret_is_given(redis_server):
    states = []
    for secret in (None, key_ring().derive("limits"), SECRET):
        limiter = Limiter(redis_server.url, secret=secret)
        states.append(await limiter.hit("login_ip", "a", THREE))
        await limiter.close()
    assert [state.remaining for state in states] == [2, 1, 2]


async def test_the_waits_agree_with_memory_when_counted_in_redis(redis_server):
    windows = RedisWindows(redis_server.url)
    rule = LimitRule(5, 60)
    began = time.monotonic()
    results = [await windows.hit("k", rule) for _ in range(6)]
    passed = time.monotonic() - began
    await windows.close()
    assert [result.is_accepted for result in results] == [True] * 5 + [False]
    assert [result.used(rule) for result in results] == [1, 2, 3, 4, 5, 5]
    assert 59 - passed < results[-1].wait_seconds(rule) <= 60


@pytest.mark.fault
async def test_ordinary_limits_fall_back_to_memory_when_redis_is_killed(redis_server, redis_limiter):
    assert (await redis_limiter.hit("orders_create", "alice", THREE)).remaining == 2
    redis_server.kill()
    with capture_logs() as lines:
        states = [await redis_limiter.hit("orders_create", "alice", THREE) for _ in range(4)]
    assert [state.is_over for state in states] == [False, False, False, True]
    # Redis is left alone for a while after the first failure, so there is one line and not four.
    assert [line["event"] for line in lines] == ["limits_redis_down"]


@pytest.mark.fault
async def test_sign_in_limits_refuse_when_redis_is_killed(redis_server, redis_limiter):
    assert not (await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)).is_over
    redis_server.kill()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)
        assert caught.value.code == "rate_limiter_unavailable"
        assert caught.value.headers == {"Retry-After": "5"}


@pytest.mark.fault
async def test_redis_counts_again_when_it_is_back(redis_server, redis_limiter, monkeypatch):
    monkeypatch.setattr(limiter_module, "_PAUSE_SECONDS", 60)
    await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)
    redis_server.kill()
    with pytest.raises(Unavailable):
        await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)
    redis_server.start()
    with pytest.raises(Unavailable):
        await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)
    monkeypatch.setattr(limiter_module, "_PAUSE_SECONDS", 0)
    with capture_logs() as lines:
        assert (await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)).remaining == 2
    assert [line["event"] for line in lines] == ["limits_redis_back"]


@pytest.mark.fault
async def test_no_request_fails_when_redis_is_restarted_between_two(redis_server, redis_limiter):
    await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)
    redis_server.kill()
    redis_server.start()
    assert (await redis_limiter.hit("login_ip", "a", THREE, is_sign_in=True)).remaining == 2


@pytest.mark.fault
async def test_requests_wait_only_briefly_when_redis_hangs(redis_server, monkeypatch):
    monkeypatch.setattr(windows_module, "_REDIS_TIMEOUT_SECONDS", 0.5)
    limiter = Limiter(redis_server.url, secret=SECRET)
    await limiter.hit("orders_create", "alice", THREE)
    redis_server.freeze()
    async with asyncio.timeout(60):
        states = [await limiter.hit("orders_create", "alice", THREE) for _ in range(3)]
    redis_server.thaw()
    await limiter.close()
    assert not any(state.is_over for state in states)


# --- routes ------------------------------------------------------------------------------------------------


@dataclass
class Caller:
    """What a route's marker would make of a credential."""

    limit_key: str


async def marker(request: Request) -> Caller:
    """A marker as routes have it: it makes the caller from the credential, then settles what waited."""
    request.state.principal = Caller(request.headers.get("x-caller", "alice"))
    await settle_limits(request)
    return request.state.principal  # type: ignore[no-any-return]  # the state holds anything


Marked = Annotated[Caller, Depends(marker)]
by_principal = limited("orders_create", by="principal")


class Recorder:
    """Middleware that keeps the limits that a request was counted by."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.states: list[list[LimitState]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self.states.append(scope.get("luneo.limits", []))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The process's settings with small limits; the originals come back after the test."""
    settings = get_settings()
    small = {
        "limit_login_ip": "2/1m",
        "limit_orders_create": "2/1m",
        "limit_refresh": "1/1m",
        "limit_factor": 1,
        "trusted_proxies": ["127.0.0.1"],
    }
    for name, value in small.items():
        monkeypatch.setattr(settings, name, value)
    return settings


@pytest.fixture
def application(memory_limiter: Limiter) -> FastAPI:
    app = FastAPI()
    errors.install(app)
    app.state.limiter = memory_limiter

    @app.post("/login", dependencies=[Depends(limited("login_ip", by="address", is_sign_in=True))])
    async def log_in() -> str:
        return "ok"

    @app.post("/orders", dependencies=[Depends(by_principal)])
    async def create_order(caller: Marked) -> str:
        return caller.limit_key

    @app.put("/orders", dependencies=[Depends(marker), Depends(by_principal)])
    async def replace_order() -> str:
        return "ok"

    @app.post("/refresh")
    async def refresh(request: Request) -> str:
        await enforce(request, "refresh", key="session", by_address=True)
        return "ok"

    return app


@pytest.fixture
async def recorder(application: FastAPI) -> Recorder:
    return Recorder(application)


@pytest.fixture
async def client(recorder: Recorder, settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(recorder, client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://luneo.test") as client:
        yield client


async def test_a_route_answers_429_when_one_address_is_over(client, recorder):
    answers = [await client.post("/login", headers={"X-Forwarded-For": "198.51.100.1"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert [[state.remaining for state in states] for states in recorder.states] == [[1], [0], [0]]
    assert recorder.states[-1][0].is_over
    other = await client.post("/login", headers={"X-Forwarded-For": "198.51.100.2"})
    assert other.status_code == 200


async def test_an_ipv6_caller_is_counted_by_its_network_when_it_changes_address(client):
    answers = [
        await client.post("/login", headers={"X-Forwarded-For": f"2001:db8:1:2::{number}"})
        for number in range(1, 4)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_a_limit_by_address_is_multiplied_when_a_factor_is_set(client, settings):
    settings.limit_factor = 2
    answers = [await client.post("/login") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_principal_is_counted_when_its_marker_runs_before_or_after_the_limit(
    client, settings, method
):
    settings.limit_factor = 100
    answers = [await client.request(method, "/orders", headers={"X-Caller": "alice"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    other = await client.request(method, "/orders", headers={"X-Caller": "bob"})
    assert other.status_code == 200


async def test_a_limit_is_enforced_when_called_for_with_a_key_of_its_own(client):
    answers = [await client.post("/refresh") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


async def test_sign_in_answers_503_and_orders_go_on_when_redis_is_down(client, application, redis_server):
    application.state.limiter = Limiter(redis_server.url, secret=SECRET)
    redis_server.kill()
    refused = await client.post("/login")
    assert refused.status_code == 503
    assert refused.json()["code"] == "rate_limiter_unavailable"
    assert refused.headers["retry-after"] == "5"
    assert (await client.post("/orders")).status_code == 200
    await application.state.limiter.close()


def test_a_limit_shows_what_it_is_when_looked_at():
    limit = limited("login_ip", by="address", is_sign_in=True)
    assert isinstance(limit, RateLimit)
    assert (limit.name, limit.by, limit.is_sign_in) == ("login_ip", "address", True)


def test_a_limit_without_a_setting_is_refused_when_declared():
    with pytest.raises(LookupError, match="limit_no_such_thing"):
        limited("no_such_thing", by="address")
